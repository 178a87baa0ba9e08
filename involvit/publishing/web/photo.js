// Files and videos turned into pixels; what is no photo is refused in one friendly line.


const MAX_MEGAPIXELS = 64; // four bytes each, and a browser keeps several copies

/** What is wrong, in words for the visitor. */
export class Friendly extends Error {}

/**
 * Draws a picture on white, scaled to a long side where one is given.
 * @param {CanvasImageSource} source
 * @param {number} width
 * @param {number} height
 * @param {number} [longest]
 * @returns {ImageData}
 */
export function pixels(source, width, height, longest = Infinity) {
  const scale = Math.min(1, longest / Math.max(width, height));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/**
 * Reads a photo, upright and without its colour profile, as Python does.
 * @param {File} file
 * @returns {Promise<ImageData>}
 */
export async function readPhoto(file) {
  const refusal = new Friendly(`${file.name} is not a photo that this browser can read; choose a JPEG or PNG file.`);
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    // Its size is known before its pixels are decoded.
    await new Promise((resolve, reject) => Object.assign(image, { onload: resolve, onerror: () => reject(refusal) }));
    const megapixels = Math.round((image.naturalWidth * image.naturalHeight) / 1e6);
    if (megapixels > MAX_MEGAPIXELS) {
      throw new Friendly(`${file.name} has ${megapixels} megapixels; make it smaller, at most ${MAX_MEGAPIXELS}.`);
    }
    const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" }).catch(() => Promise.reject(refusal));
    return pixels(bitmap, bitmap.width, bitmap.height);
  } finally {
    URL.revokeObjectURL(image.src);
  }
}
