// Where faces are: YuNet's raw answers turned into boxes and landmarks, by the steps of involvit's YuNetDetector.

import { resize } from "./resize.js";

/** @import { Pixels } from "./resize.js" */
/**
 * A face in pixels of its image: x, y, width and height, and x and y of right eye, left eye, nose tip, right and left
 * mouth corner.
 * @typedef {{box: number[], score: number, landmarks: number[][]}} Face
 * Views: least and largest long side, and a black margin in parts of it.
 * @typedef {{min_score: number, max_overlap: number, views: [number, number, number][]}} FaceSettings
 */

const STRIDES = [8, 16, 32]; // of its grids; the last divides both sides of what the network takes

/** Rounds a half to the even number, as Python does. @param {number} x */
const round = (x) => Math.round(x) - (x % 2 === 0.5 ? 1 : 0);

/** The area that two boxes share. @param {number[]} a @param {number[]} b */
export function shared(a, b) {
  const [width, height] = [0, 1].map((i) => Math.min(a[i] + a[i + 2], b[i] + b[i + 2]) - Math.max(a[i], b[i]));
  return Math.max(width, 0) * Math.max(height, 0);
}

const area = (/** @type {number[]} */ box) => box[2] * box[3];

/** Intersection over union. @param {number[]} a @param {number[]} b */
export function overlap(a, b) {
  return shared(a, b) / (area(a) + area(b) - shared(a, b));
}

/**
 * Of boxes that overlap, keeps the one with the highest score.
 * @param {Face[]} faces
 * @param {number} most
 * @param {(box: number[]) => number[]} as
 */
function best(faces, most, as = (box) => box) {
  /** @type {Face[]} */
  const kept = [];
  for (const face of faces.toSorted((a, b) => b.score - a.score)) {
    if (kept.every((other) => overlap(as(other.box), as(face.box)) <= most)) kept.push(face);
  }
  return kept;
}

/**
 * Returns a function that finds the faces in an image, the largest first.
 * @param {any} ort
 * @param {any} session
 * @param {FaceSettings} settings
 * @returns {(image: Pixels) => Promise<Face[]>}
 */
export const faceFinder = (ort, session, settings) => async (image) => {
  const found = [];
  for (const view of settings.views) found.push(...(await look(ort, session, settings, image, ...view)));
  /** @type {Face[]} */
  const kept = [];
  for (const face of best(found, settings.max_overlap).sort((a, b) => area(b.box) - area(a.box))) {
    if (!kept.some((other) => shared(face.box, other.box) >= 0.5 * area(face.box))) kept.push(face); // no part of one
  }
  return kept;
};

/**
 * @param {any} ort
 * @param {any} session
 * @param {FaceSettings} settings
 * @param {Pixels} image
 * @param {number} minSide
 * @param {number} maxSide
 * @param {number} margin black, in parts of the long side
 * @returns {Promise<Face[]>}
 */
async function look(ort, session, settings, image, minSide, maxSide, margin) {
  const padded = Math.max(image.width, image.height) * (1 + 2 * margin);
  const scale = Math.min(Math.max(padded, minSide), maxSide) / padded;
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, round(side * scale)));
  const view = resize(image, width, height, scale > 1 ? "linear" : "area");
  const border = round(margin * Math.max(width, height));
  const [columns, rows] = [width, height].map((side) => 32 * Math.ceil((side + 2 * border) / 32));
  const input = new Float32Array(3 * columns * rows); // blue, green, red
  for (let place = 0; place < 3 * width * height; place++) {
    const [channel, pixel] = [place % 3, Math.floor(place / 3)];
    const to = (Math.floor(pixel / width) + border) * columns + (pixel % width) + border;
    input[channel * columns * rows + to] = view.data[4 * pixel + 2 - channel];
  }
  const answer = await session.run({ input: new ort.Tensor("float32", input, [1, 3, rows, columns]) });
  const faces = STRIDES.flatMap((stride) => decode(answer, stride, columns / stride, settings.min_score));
  const back = (/** @type {number} */ place) => (place - border) / scale;
  return best(faces, settings.max_overlap, (box) => box.map(Math.trunc)).map((face) => {
    const box = face.box.map((value, i) => (i < 2 ? back(value) : value / scale));
    return { ...face, box, landmarks: face.landmarks.map((point) => point.map(back)) };
  });
}

/**
 * @param {Record<string, {data: Float32Array}>} answer
 * @param {number} stride of the grid of places whose answers these are
 * @param {number} columns of the grid
 * @param {number} minScore
 */
function decode(answer, stride, columns, minScore) {
  const [cls, obj, bbox, kps] = ["cls", "obj", "bbox", "kps"].map((name) => answer[`${name}_${stride}`].data);
  const clamp = (/** @type {number} */ x) => Math.min(Math.max(x, 0), 1);
  /** @type {Face[]} */
  const faces = [];
  cls.forEach((value, n) => {
    const score = Math.sqrt(clamp(value) * clamp(obj[n]));
    if (score < minScore) return;
    const origin = [n % columns, Math.floor(n / columns)];
    const [x, y] = origin.map((place, i) => (place + bbox[4 * n + i]) * stride);
    const [width, height] = [2, 3].map((i) => Math.exp(bbox[4 * n + i]) * stride);
    const point = (/** @type {number} */ i) => origin.map((place, axis) => (place + kps[10 * n + i + axis]) * stride);
    faces.push({ box: [x - width / 2, y - height / 2, width, height], score, landmarks: [0, 2, 4, 6, 8].map(point) });
  });
  return faces;
}
