// What was found, drawn: faces outlined in the picture, and a bar for each expression, a table to screen readers.

import { first } from "./table.js";

/** @import { Found } from "./table.js" */
/** @typedef {Found & {number: number}} Shown */

/**
 * Makes an element of the page.
 * @param {string} tag
 * @param {Record<string, any>} properties
 * @param {(Node | string)[]} children
 */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** @param {number} probability */
export const percent = (probability) => `${Math.round(100 * probability)}%`;

/**
 * Draws a picture and outlines its faces. One without probabilities is a square that is being chosen.
 * @param {HTMLCanvasElement} canvas
 * @param {ImageData} image
 * @param {Shown[]} faces
 * @param {string[]} labels
 * @param {Record<string, string>} colors
 */
export function drawFaces(canvas, image, faces, labels, colors) {
  Object.assign(canvas, { width: image.width, height: image.height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.putImageData(image, 0, 0);
  const unit = (1.7 * image.width) / canvas.clientWidth; // the same on every screen
  Object.assign(context, { lineWidth: unit, font: `${8 * unit}px sans-serif`, textBaseline: "bottom" });
  for (const { number, box: [x, y, width, height] = [], probabilities } of faces) {
    const label = labels[first(probabilities)];
    const text = label ? ` ${number} ${label} ${percent(Math.max(...probabilities))} ` : "";
    const bottom = Math.max(y, 10 * unit);
    context.strokeStyle = context.fillStyle = colors[label] ?? "white";
    context.strokeRect(x, y, width, height);
    context.fillRect(x - unit / 2, bottom - 10 * unit, context.measureText(text).width, 10 * unit);
    context.fillStyle = "black";
    context.fillText(text, x - unit / 2, bottom);
  }
  const names = faces.map(({ number, probabilities }) => `face ${number} ${labels[first(probabilities)] ?? ""}`);
  canvas.setAttribute("aria-label", `The picture: ${names.join(", ") || "no face"}`);
}

/**
 * @param {Shown} face
 * @param {string[]} labels
 * @param {Record<string, string>} colors
 */
export function bars({ number, probabilities }, labels, colors) {
  const best = first(probabilities);
  const rows = labels.map((label, n) => {
    const bar = element("div");
    Object.assign(bar.style, { width: percent(probabilities[n]), background: colors[label] });
    const cells = [element("td", {}, bar), element("td", {}, percent(probabilities[n]))];
    return element("tr", { className: n === best ? "first" : "" }, element("th", { scope: "row" }, label), ...cells);
  });
  const caption = element("caption", {}, `Face ${number}: ${labels[best]}`);
  return element("table", { className: "bars" }, caption, element("tbody", {}, ...rows));
}
