// The camera: frame after frame is looked at, and what was found is shown with it.

import { Friendly, pixels } from "./photo.js";

const FRAME_SIDE = 640;
const REASONS = /** @type {Record<string, string>} */ ({
  NotFoundError: "No camera was found; connect one, or choose a photo.",
  NotAllowedError: "The camera is not allowed here; allow it in the browser's settings of this page.",
  TypeError: "The camera needs a page that is served by https, or from this device.",
  NotReadableError: "The camera is used by another program; close that, and try again.",
});

export class Camera {
  /** @type {MediaStream | null} */
  stream = null;

  /**
   * Looks at one frame after the other until it is stopped, as fast as `look` allows.
   * @param {(image: ImageData, time: number, rate: number) => Promise<void>} look is given the time in seconds, and
   *   the frames a second so far
   */
  async start(look) {
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    } catch (error) {
      const { name } = /** @type {Error} */ (error);
      throw new Friendly(REASONS[name] ?? `The camera does not start (${name}); choose a photo.`);
    }
    const stream = this.stream;
    const video = document.createElement("video");
    await Object.assign(video, { muted: true, playsInline: true, srcObject: stream }).play();
    let [before, rate] = [0, 0];
    while (this.stream === stream) {
      await new Promise((resolve) => requestAnimationFrame(resolve)); // none while the page is not in sight
      const time = performance.now() / 1000;
      if (before) rate = rate ? 0.9 * rate + 0.1 / (time - before) : 1 / (time - before);
      before = time;
      await look(pixels(video, video.videoWidth, video.videoHeight, FRAME_SIDE), time, rate);
    }
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
  }
}
