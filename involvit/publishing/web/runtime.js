// onnxruntime-web, from the site's own folder or its CDN: what does not have the expected hash is not run.

/**
 * Where it is, and name and hash of script and program for each build.
 * @typedef {{url: string, builds: Record<string, [string, string][]>}} Runtime
 */

/**
 * Loads a file of the site or of the runtime as a whole, so that nothing is left to load later.
 * @param {string} url
 * @param {string} [integrity]
 */
export async function load(url, integrity) {
  const response = await fetch(url, { integrity });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.arrayBuffer();
}

/**
 * @param {Runtime} runtime
 * @param {"wasm" | "webgpu"} build
 * @returns {Promise<any>}
 */
export async function loadRuntime({ url, builds }, build) {
  const [script, wasmBinary] = await Promise.all(builds[build].map(([name, hash]) => load(url + name, hash)));
  // An import of the address itself would not be checked by all browsers.
  const ort = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  Object.assign(ort.env.wasm, { wasmBinary, numThreads: 1 }); // more need headers that plain hosts do not send
  ort.env.logLevel = "error";
  return ort;
}

/** Whether there is a GPU that WebGPU can use, and the build for it. @param {Runtime} runtime */
export async function hasGpu({ builds }) {
  return "webgpu" in builds && (await /** @type {any} */ (navigator).gpu?.requestAdapter().catch(() => null));
}
