// Who is who from frame to frame, by the overlap of boxes; probabilities are smoothed over time.

import { overlap } from "./faces.js";

const SMOOTHING_S = 0.4;
const MIN_OVERLAP = 0.3;
const MAX_GAP_S = 1;

/**
 * Returns a function that gives each face of the next frame its track, in the order of the tracks' numbers; its
 * arguments are the faces and the time in seconds.
 */
export function tracker() {
  /** @type {{number: number, box: number[], probabilities: number[], time: number}[]} */
  let tracks = [];
  let started = 0;
  return (/** @type {{box: number[], probabilities: number[]}[]} */ faces, /** @type {number} */ time) => {
    const open = new Set(tracks.filter((track) => time - track.time <= MAX_GAP_S));
    const seen = faces.map(({ box, probabilities: now }) => {
      const [nearest] = [...open].sort((a, b) => overlap(box, b.box) - overlap(box, a.box));
      const isKnown = nearest && overlap(box, nearest.box) >= MIN_OVERLAP;
      const track = isKnown ? nearest : { number: ++started, probabilities: now, time };
      if (isKnown) open.delete(nearest);
      const weight = 1 - Math.exp((track.time - time) / SMOOTHING_S);
      const probabilities = now.map((one, n) => track.probabilities[n] * (1 - weight) + one * weight);
      return { number: track.number, box, probabilities, time };
    });
    tracks = [...seen, ...open];
    return seen.sort((a, b) => a.number - b.number);
  };
}
