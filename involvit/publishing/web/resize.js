// Resizing as Pillow and OpenCV do it: the classifier's answers depend on how pixels are averaged.

/**
 * Upright RGBA pixels; an ImageData is one.
 * @typedef {{width: number, height: number, data: Uint8ClampedArray}} Pixels
 */

const sinc = (/** @type {number} */ x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** Radius, and weight at a distance. @type {Record<string, [number, (x: number) => number]>} */
const FILTERS = {
  bilinear: [1, (x) => Math.max(0, 1 - x)],
  bicubic: [2, (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0)],
  lanczos: [3, (x) => (x < 3 ? sinc(x) * sinc(x / 3) : 0)],
};

/**
 * For each place of the result, the first place of the source that counts, and the weights from there on.
 * @param {number} from
 * @param {number} to
 * @param {string} filter
 * @returns {{start: number, weights: number[]}[]}
 */
function taps(from, to, filter) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const isArea = filter === "area"; // weighs a pixel by how much of it is covered
  const [radius, value] = FILTERS[filter] ?? FILTERS.bilinear;
  return Array.from({ length: to }, (_, place) => {
    const [low, centre, high] = [0, 0.5, 1].map((part) => (place + part) * scale);
    const start = Math.max(isArea ? Math.floor(low + 1e-6) : Math.trunc(centre - radius * stretch + 0.5), 0);
    const end = Math.min(isArea ? Math.ceil(high - 1e-6) : Math.trunc(centre + radius * stretch + 0.5), from);
    const weights = Array.from({ length: end - start }, (__, k) => {
      const left = start + k;
      return isArea ? Math.min(left + 1, high) - Math.max(left, low) : value(Math.abs(left + 0.5 - centre) / stretch);
    });
    const sum = weights.reduce((a, b) => a + b);
    return { start, weights: weights.map((one) => (filter === "linear" ? Math.round((2048 * one) / sum) : one / sum)) };
  });
}

/**
 * @param {Pixels} image
 * @param {number} width
 * @param {number} height
 * @param {string} filter of OpenCV: "area" to shrink, "linear" to enlarge; of Pillow: "bilinear", "bicubic", "lanczos"
 * @returns {Pixels}
 */
export function resize(image, width, height, filter) {
  if (image.width === width && image.height === height) return image;
  const [isArea, isLinear] = [filter === "area", filter === "linear"];
  // Each rounds in its own way: Pillow after both steps; OpenCV at the end, "linear" counts in whole numbers
  // throughout, and "area" rounds a half to the even number, as the array does, but for an image of twice the size.
  const across = new (isArea || isLinear ? Float32Array : Uint8ClampedArray)(4 * width * image.height);
  const data = new Uint8ClampedArray(4 * width * height);
  taps(image.width, width, filter).forEach((tap, x) => {
    for (let y = 0; y < image.height; y++) {
      const from = 4 * (y * image.width + tap.start);
      weigh(image.data, from, 4, tap.weights, across, 4 * (y * width + x), 4, isArea || isLinear ? "" : "up");
    }
  });
  const round = isLinear ? "fixed" : isArea && image.width !== 2 * width ? "" : "up";
  taps(image.height, height, filter).forEach(({ start, weights }, y) => {
    weigh(across, 4 * width * start, 4 * width, weights, data, 4 * width * y, 4 * width, round);
  });
  return { width, height, data };
}

/**
 * Writes the weighted sums of neighbours, for some values that lie side by side.
 * @param {ArrayLike<number>} source
 * @param {number} from where the first neighbour lies
 * @param {number} step from there to the next
 * @param {number[]} weights
 * @param {Float32Array | Uint8ClampedArray} target
 * @param {number} to
 * @param {number} count
 * @param {string} round how: "up" from a half on, "fixed" as OpenCV's whole numbers, or as the target does
 */
function weigh(source, from, step, weights, target, to, count, round) {
  const isFixed = round === "fixed";
  for (let n = 0; n < count; n++) {
    let sum = 0;
    for (let k = 0; k < weights.length; k++) {
      const value = source[from + k * step + n];
      sum += isFixed ? (weights[k] * (value >> 4)) >> 16 : weights[k] * value;
    }
    target[to + n] = isFixed ? (sum + 2) >> 2 : round === "up" ? Math.floor(sum + 0.5) : sum;
  }
}
