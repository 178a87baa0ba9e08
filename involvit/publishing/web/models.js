// The models of the page, ready to run: the face detector, if the site has one, and the classifier.

import { alignFace } from "./align.js";
import { classifier } from "./classifier.js";
import { faceFinder } from "./faces.js";
import { Friendly } from "./photo.js";
import { hasGpu, load, loadRuntime } from "./runtime.js";

/** @import { Model } from "./classifier.js" */
/** @import { FaceSettings } from "./faces.js" */
/** @import { Pixels } from "./resize.js" */
/** @import { Runtime } from "./runtime.js" */
/** @import { Found } from "./table.js" */
/**
 * What `involvit export` wrote beside the page.
 * @typedef {{model: Model & {file: string, id: string}, colors: Record<string, string>, runtime: Runtime,
 *   faces: (FaceSettings & {file: string, landmarks: number[][]}) | null}} Settings
 */

/**
 * @typedef {{settings: Settings, engine: string, classify: (faces: Pixels[]) => Promise<number[][]>,
 *   find: ((image: Pixels) => Promise<import("./faces.js").Face[]>) | null}} Models
 */

/** @param {Settings} settings @returns {Promise<Models>} */
export async function loadModels(settings) {
  if (typeof WebAssembly !== "object") {
    throw new Friendly("This browser has no WebAssembly, which the model needs; use a current one.");
  }
  const [model, faces] = await Promise.all([settings.model, settings.faces].map((one) => one && load(one.file)));
  const start = async (/** @type {"wasm" | "webgpu"} */ build) => {
    const ort = await loadRuntime(settings.runtime, build);
    const executionProviders = build === "webgpu" ? ["webgpu", "wasm"] : ["wasm"];
    const open = (/** @type {any} */ bytes) => ort.InferenceSession.create(bytes, { executionProviders });
    const classify = classifier(ort, await open(model), settings.model);
    const find = settings.faces && faceFinder(ort, await open(faces), settings.faces);
    const blank = { width: 32, height: 32, data: new Uint8ClampedArray(4 * 32 * 32) };
    await classify([blank]); // a first run is slow, and shows whether it runs at all
    await find?.(blank);
    return { settings, engine: build === "webgpu" ? "WebGPU" : "WebAssembly", classify, find };
  };
  return (await hasGpu(settings.runtime)) ? start("webgpu").catch(() => start("wasm")) : start("wasm");
}

/**
 * Finds the faces in an image, the largest first, and the probabilities of their expressions.
 * @param {Models} models
 * @param {Pixels} image
 * @returns {Promise<(Found & {box: number[]})[]>}
 */
export async function facesIn({ settings, find, classify }, image) {
  const found = (await find?.(image)) ?? [];
  const places = settings.faces?.landmarks ?? [];
  const size = settings.model.image_size;
  const probabilities = await classify(found.map(({ landmarks }) => alignFace(image, landmarks, places, size)));
  return found.map(({ box, score }, n) => ({ box, score, probabilities: probabilities[n] }));
}
