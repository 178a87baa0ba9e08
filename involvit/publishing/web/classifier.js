// The expression of a face: the model that `involvit export` wrote, prepared as its metadata says.

import { resize } from "./resize.js";

/** @import { Pixels } from "./resize.js" */
/**
 * @typedef {{labels: string[], image_size: number, image_mean: number[], image_std: number[], resample: string}} Model
 */

/**
 * Returns a function that gives the probability of each class for each face.
 * @param {any} ort
 * @param {any} session
 * @param {Model} model
 * @returns {(faces: Pixels[]) => Promise<number[][]>}
 */
export const classifier = (ort, session, model) => async (faces) => {
  if (!faces.length) return [];
  const { image_size: size, image_mean: mean, image_std: std, labels } = model;
  const plane = size * size;
  const input = new Float32Array(faces.length * 3 * plane);
  faces.forEach((face, number) => {
    const { data } = resize(face, size, size, model.resample);
    for (let n = 0; n < 3 * plane; n++) {
      const [channel, place] = [Math.floor(n / plane), n % plane];
      input[3 * plane * number + n] = (data[4 * place + channel] / 255 - mean[channel]) / std[channel];
    }
  });
  const pixel_values = new ort.Tensor("float32", input, [faces.length, 3, size, size]);
  const { logits } = await session.run({ pixel_values });
  return faces.map((_, number) => {
    const row = [...logits.data.slice(number * labels.length, (number + 1) * labels.length)];
    const powers = row.map((logit) => Math.exp(logit - Math.max(...row)));
    return powers.map((power) => power / powers.reduce((a, b) => a + b));
  });
};
