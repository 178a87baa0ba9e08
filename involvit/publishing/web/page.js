// The page: what the visitor gives, and what is shown of it. Nothing is sent anywhere.

import { Camera } from "./camera.js";
import { bars, drawFaces, element, percent } from "./drawing.js";
import { facesIn, loadModels } from "./models.js";
import { Friendly, pixels, readPhoto } from "./photo.js";
import { chooseSquare } from "./square.js";
import { csv, first } from "./table.js";
import { tracker } from "./tracker.js";

/** @import { Models } from "./models.js" */
/** @import { Found, Result } from "./table.js" */

const at = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const say = (/** @type {string} */ text) => (at("status").textContent = text);
const show = (/** @type {string} */ part) => ["picture", "several"].forEach((id) => (at(id).hidden = id !== part));

/** @type {Models} */
let models;
const camera = new Camera();
/** One thing at a time: the models keep state. @type {Promise<unknown>} */
let queue = Promise.resolve();

/** Runs a task after those before it; what goes wrong is one line. @param {() => Promise<unknown>} task */
function run(task) {
  at("problem").textContent = "";
  queue = queue.then(task).catch((error) => {
    show("");
    say("");
    at("problem").textContent = error instanceof Friendly ? error.message : `Load the page again (${error.message}).`;
  });
}

/**
 * Shows a picture with its faces, and their bars.
 * @param {ImageData} image
 * @param {(Found & {number?: number})[]} found
 */
function showFaces(image, found) {
  const { model, colors } = models.settings;
  const faces = found.map((face, n) => ({ ...face, number: face.number ?? n + 1 }));
  show("picture");
  drawFaces(at("canvas"), image, faces, model.labels, colors);
  at("faces").replaceChildren(...faces.map((face) => bars(face, model.labels, colors)));
}

/**
 * Takes a part of a picture, or all of it, as one face.
 * @param {ImageData} image
 * @param {[number, number, number, number]} [box]
 */
async function asFace(image, box) {
  const part = await createImageBitmap(image, ...(box ?? [0, 0, image.width, image.height]));
  const [probabilities] = await models.classify([pixels(part, part.width, part.height)]);
  return [{ box, probabilities }];
}

/** @param {ImageData} image @returns {Promise<Found[]>} */
const look = (image) => (at("whole").checked ? asFace(image) : facesIn(models, image));

/** @param {File} file */
async function onePhoto(file) {
  const image = await readPhoto(file);
  const found = await look(image);
  showFaces(image, found);
  const count = found.length || !models.find ? `Faces: ${found.length}.` : "No face was found.";
  say(`${count} To choose one yourself, drag a square around it, or take the whole picture.`);
  const choose = (/** @type {any} */ box) => run(async () => showFaces(image, await asFace(image, box)));
  at("take").onclick = () => choose(undefined);
  at("take").hidden = at("keys").hidden = false;
  const drawn = (/** @type {number[]} */ box) => [{ box, number: 0, probabilities: [] }];
  chooseSquare(at("canvas"), (box) => drawFaces(at("canvas"), image, drawn(box), [], {}), choose);
}

/** @param {File[]} files */
async function severalPhotos(files) {
  const { labels, id } = models.settings.model;
  /** @type {Result[]} */
  const results = [];
  at("rows").replaceChildren();
  show("several");
  for (const file of files) {
    say(`${results.length} of ${files.length} photos`);
    /** @type {Result} */
    const result = { file: file.name, faces: [] };
    result.faces = await readPhoto(file).then(look, (error) => ((result.error = error.message), []));
    results.push(result);
    const best = result.faces.map(({ probabilities: p }) => `${labels[first(p)]} ${percent(Math.max(...p))}`);
    const open = element("button", { type: "button", onclick: () => take([file]) }, file.name);
    const text = result.error ?? (best.join(", ") || "no face");
    at("rows").append(element("tr", {}, element("td", {}, open), element("td", {}, text)));
  }
  say(`${files.length} photos`);
  const table = csv(results, labels, id, at("whole").checked ? "none" : "yunet");
  at("download").href = URL.createObjectURL(new Blob([table], { type: "text/csv" }));
}

/** Takes what was chosen, dropped or pasted. @param {Iterable<File> | undefined} given */
function take(given) {
  const files = [...(given ?? [])];
  if (!files.length) return;
  camera.stop();
  run(() => (files.length === 1 ? onePhoto(files[0]) : severalPhotos(files)));
}

async function live() {
  const track = tracker();
  at("take").hidden = at("keys").hidden = true;
  at("camera").textContent = "Stop the camera";
  say("The camera is on. Its pictures stay on this device.");
  const ended = camera.start(async (image, time, rate) => {
    const found = await look(image);
    const all = [0, 0, image.width, image.height];
    showFaces(image, track(found.map((face) => ({ ...face, box: face.box ?? all })), time));
    at("rate").textContent = rate ? `${rate.toFixed(1)} frames a second` : "";
  });
  await ended.finally(() => (at("camera").textContent = "Start the camera"));
  at("rate").textContent = say("");
}

run(async () => {
  say("Loading the model …");
  models = await loadModels(await (await fetch("settings.json")).json());
  at("engine").textContent = `Runs on this device, by ${models.engine}.`;
  at("whole").checked = !models.find;
  for (const id of ["files", "camera", "whole"]) at(id).disabled = id === "whole" && !models.find;
  say("Ready. From now on it works without a network.");
});

at("files").onchange = () => (take(at("files").files), (at("files").value = ""));
at("camera").onclick = () => (camera.stream ? camera.stop() : run(live));
document.onpaste = (event) => take(event.clipboardData?.files);
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => (event.preventDefault(), take(event.dataTransfer?.files));
