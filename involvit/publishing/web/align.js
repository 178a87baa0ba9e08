// A face cut out upright, framed as the faces that the model learned from, by the steps of involvit's align_face.

/** @import { Pixels } from "./resize.js" */

const MAX_SUPERSAMPLING = 16;

/**
 * The turn, scale and shift that brings points closest to others in the sense of least squares: a point z, taken as a
 * complex number, goes to a * z + b. It is given as the real and imaginary parts of a and b.
 * @param {number[][]} source
 * @param {number[][]} target
 */
function similarity(source, target) {
  const points = source.map((point, n) => [...point, ...target[n]]);
  const mean = [0, 1, 2, 3].map((i) => points.reduce((sum, point) => sum + point[i], 0) / points.length);
  let [real, imaginary, norm] = [0, 0, 0];
  for (const point of points) {
    const [x, y, u, v] = point.map((place, i) => place - mean[i]);
    real += x * u + y * v;
    imaginary += x * v - y * u;
    norm += x * x + y * y;
  }
  const [a, b] = [real / norm, imaginary / norm];
  return [a, b, mean[2] - a * mean[0] + b * mean[1], mean[3] - b * mean[0] - a * mean[1]];
}

/**
 * What lies outside the image repeats its border.
 * @param {Pixels} image
 * @param {number[][]} landmarks in the image
 * @param {number[][]} places of the landmarks in the result, in parts of its side
 * @param {number} size of the result in pixels
 * @returns {Pixels}
 */
export function alignFace(image, landmarks, places, size) {
  const [a, b, shiftX, shiftY] = similarity(landmarks, places.map((place) => place.map((part) => part * size)));
  const square = a * a + b * b;
  // To shrink without aliasing, look at about the image's own scale and average.
  const factor = Math.min(Math.max(Math.round(1 / Math.sqrt(square)), 1), MAX_SUPERSAMPLING);
  const data = new Uint8ClampedArray(4 * size * size).fill(255);
  for (let place = 0; place < size * size; place++) {
    const sum = [0, 0, 0];
    for (let part = 0; part < factor * factor; part++) {
      const u = (place % size) + ((part % factor) + 0.5) / factor - shiftX;
      const v = Math.floor(place / size) + (Math.floor(part / factor) + 0.5) / factor - shiftY;
      add(sum, image, (a * u + b * v) / square - 0.5, (a * v - b * u) / square - 0.5);
    }
    const mean = sum.map((value) => value / factor ** 2);
    data.set(factor === 2 ? mean.map((value) => Math.floor(value + 0.5)) : mean, 4 * place); // as OpenCV rounds
  }
  return { width: size, height: size, data };
}

/**
 * Adds the pixel at a place between pixels.
 * @param {number[]} sum
 * @param {Pixels} image
 * @param {number} x
 * @param {number} y
 */
function add(sum, { width, height, data }, x, y) {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [right, below] = [x - left, y - top];
  const inside = (/** @type {number} */ at, /** @type {number} */ side) => Math.min(Math.max(at, 0), side - 1);
  const [x0, x1, y0, y1] = [inside(left, width), inside(left + 1, width), inside(top, height), inside(top + 1, height)];
  for (let channel = 0; channel < 3; channel++) {
    const at = (/** @type {number} */ column, /** @type {number} */ row) => data[4 * (row * width + column) + channel];
    const upper = at(x0, y0) * (1 - right) + at(x1, y0) * right;
    const lower = at(x0, y1) * (1 - right) + at(x1, y1) * right;
    sum[channel] += Math.round(upper * (1 - below) + lower * below);
  }
}
