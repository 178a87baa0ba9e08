// The table of several photos, with the columns of `involvit predict --out table.csv`.

/**
 * @typedef {{box?: number[], score?: number, probabilities: number[]}} Found
 * @typedef {{file: string, faces: Found[], error?: string}} Result
 */

/** @param {number | undefined} value @param {number} digits */
const rounded = (value, digits) => (value === undefined ? "" : String(Number(value.toFixed(digits))));

/** @param {string} text */
const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/**
 * @param {Result[]} results
 * @param {string[]} labels
 * @param {string} model
 * @param {string} detector
 */
export function csv(results, labels, model, detector) {
  const place = ["x", "y", "width", "height"];
  const head = ["file", "frame", "time_s", "face", ...place, "detection_score", "label", ...labels];
  const none = Array(place.length + 2 + labels.length + 1).fill("");
  const rows = results.flatMap(({ file, faces, error }) => {
    const start = [file, "", ""];
    if (error !== undefined) return [[...start, ...none, "unreadable", error, model, detector]];
    if (!faces.length) return [[...start, ...none, "no face", "", model, detector]];
    return faces.map(({ box, score, probabilities }, number) => [
      ...[...start, String(number), ...place.map((_, i) => rounded(box?.[i], 1)), rounded(score, 4)],
      ...[labels[first(probabilities)], ...probabilities.map((one) => rounded(one, 6)), "ok", "", model, detector],
    ]);
  });
  const lines = [[...head, "status", "error", "model", "detector"], ...rows];
  return lines.map((cells) => `${cells.map(quoted).join(",")}\n`).join("");
}

/** The number of the most probable class. @param {number[]} probabilities */
export function first(probabilities) {
  return probabilities.indexOf(Math.max(...probabilities));
}
