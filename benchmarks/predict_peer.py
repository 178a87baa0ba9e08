"""Runs a face expression classifier in the environment in which it is installed; see benchmarks/predict.py.

python benchmarks/predict_peer.py fer FOLDER

Each peer is told that a whole image is the face, and gets it in the form in which it does best of those tried: its
loader says which.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

SECONDS = 10.0  # of each measurement
LATENCY_CALLS = 200

FACE_API = "1.7.15"
FACE_API_BATCH = 64
# Takes a count as a little-endian uint32 and as many images, RGB uint8 [112, 112, 3]; answers with a line of JSON.
FACE_API_SERVER = """
const path = require("path");
const tf = require("@tensorflow/tfjs");
const wasm = require("@tensorflow/tfjs-backend-wasm");
const faceapi = require("@vladmandic/face-api/dist/face-api.node-wasm.js");

const SHAPE = [112, 112, 3], BYTES = 112 * 112 * 3;
const folder = (name) => path.dirname(require.resolve(name + "/package.json"));

async function serve() {
  wasm.setWasmPaths(folder("@tensorflow/tfjs-backend-wasm") + "/wasm-out/");
  await tf.setBackend("wasm");
  const net = faceapi.nets.faceExpressionNet;
  await net.loadFromDisk(folder("@vladmandic/face-api") + "/model");
  let received = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    received = Buffer.concat([received, chunk]);
    if (received.length < 4 || received.length < 4 + BYTES * received.readUInt32LE(0)) continue;
    const images = [];
    for (let start = 4; start < received.length; start += BYTES)
      images.push(tf.tensor3d(received.subarray(start, start + BYTES), SHAPE, "float32"));
    received = Buffer.alloc(0);
    const found = [await net.predictExpressions(images)].flat();
    tf.dispose(images);
    console.log(JSON.stringify(found.map((expressions) => expressions.asSortedArray()[0].expression)));
  }
}
serve();
"""

Classify = Callable[[list[np.ndarray]], Sequence[str]]
"""Returns the name of the expression in each of some images, RGB uint8 [H, W, 3]."""


def measure_speed(classify: Classify, images: list[np.ndarray]) -> dict[str, float]:
    """Times a classifier on many images and on one.

    Args:
        classify: The classifier.
        images: The images.

    Returns:
        `images_per_s` in batches; `p50_ms` and `p95_ms`, percentiles of the time for one image.
    """
    classify(images)  # warms up
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS or not calls:
        classify(images)
        calls += 1
    times = []
    while len(times) < LATENCY_CALLS and sum(times) < SECONDS:
        begin = time.perf_counter()
        classify(images[len(times) % len(images) :][:1])
        times.append(time.perf_counter() - begin)
    p50, p95 = 1000 * np.percentile(times, (50, 95))
    return {"images_per_s": len(images) * calls / elapsed, "p50_ms": p50, "p95_ms": p95}


def load_fer() -> Classify:
    """PyPI's `fer`, which takes BGR.

    It puts ten pixels of one grey around each face, which a face that fills its image does not need; its own option
    `offsets` leaves them out. That is better than to enlarge the face until ten pixels do not matter.
    """
    from fer.fer import FER  # needs setuptools below 81 for pkg_resources

    detector = FER(offsets=(0, 0))

    def classify(images: list[np.ndarray]) -> list[str]:
        results = []
        for image in images:
            whole = [(0, 0, image.shape[1], image.shape[0])]
            (found,) = detector.detect_emotions(np.ascontiguousarray(image[..., ::-1]), face_rectangles=whole)
            results.append(max(found["emotions"], key=found["emotions"].get))
        return results

    return classify


def load_facex() -> Classify:
    """PyPI's `facex`, which classifies grey faces one by one.

    It enlarges them to 200 px linearly; when they come with this size, enlarged by cubic interpolation, it does better.
    """
    import cv2
    import facex
    from facex.core import EmotionClassifier

    classifier = EmotionClassifier(str(Path(facex.__file__).parent / "assets" / "model_optimized.tflite"))

    def classify(images: list[np.ndarray]) -> list[str]:
        grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
        faces = [cv2.resize(gray, (200, 200), interpolation=cv2.INTER_CUBIC) for gray in grays]
        results = [classifier.detect_emotion(face) for face in faces]
        return [max(result, key=result.get) for result in results]

    return classify


def load_facial_emotion_recognition() -> Classify:
    """PyPI's `facial-emotion-recognition`, which classifies grey faces one by one.

    Its public method finds the faces itself and writes the answer into the picture, so this calls what that one calls
    for each face.
    """
    import cv2
    import torch

    torch.load = functools.partial(torch.load, map_location="cpu")  # the weights were saved on a GPU
    from facial_emotion_recognition import EmotionRecognition

    recognizer = EmotionRecognition(device="cpu")

    @torch.inference_mode()
    def classify(images: list[np.ndarray]) -> list[str]:
        return [recognizer._predict(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) for image in images]

    return classify


def load_deepface() -> Classify:
    """PyPI's `deepface`, which takes a list of BGR images as a batch."""
    from deepface import DeepFace

    def classify(images: list[np.ndarray]) -> list[str]:
        images = [np.ascontiguousarray(image[..., ::-1]) for image in images]
        results = DeepFace.analyze(images, actions=["emotion"], detector_backend="skip", silent=True)
        return [(result[0] if isinstance(result, list) else result)["dominant_emotion"] for result in results]

    return classify


def load_face_api() -> Classify:
    """npm's `@vladmandic/face-api`, by TensorFlow.js in WebAssembly, which takes RGB images as a batch.

    It sees 112 px, and does better when the images' edges are repeated for another 5% on each side.
    """
    import cv2

    environment = os.environ | {"PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"}
    tensorflow = ("@tensorflow/tfjs@4.22.0", "@tensorflow/tfjs-backend-wasm@4.22.0")
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", sys.prefix]
    packages = [f"@vladmandic/face-api@{FACE_API}", *tensorflow]
    subprocess.run([*install, *packages], env=environment, stdout=subprocess.DEVNULL, check=True)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = subprocess.Popen(["node", "-e", FACE_API_SERVER], cwd=sys.prefix, env=environment, **pipes)

    def enlarge(image: np.ndarray) -> np.ndarray:
        y, x = round(image.shape[0] * 0.05), round(image.shape[1] * 0.05)
        return cv2.resize(cv2.copyMakeBorder(image, y, y, x, x, cv2.BORDER_REPLICATE), (112, 112))

    def classify(images: list[np.ndarray]) -> list[str]:
        results = []
        for start in range(0, len(images), FACE_API_BATCH):
            batch = [enlarge(image) for image in images[start : start + FACE_API_BATCH]]
            server.stdin.write(struct.pack("<I", len(batch)) + np.stack(batch).tobytes())
            server.stdin.flush()
            results += json.loads(server.stdout.readline())
        return results

    return classify


PEERS = {
    "fer": load_fer,
    "face-api": load_face_api,
    "facex": load_facex,
    "facial-emotion-recognition": load_facial_emotion_recognition,
    "deepface": load_deepface,
}


def main(name: str, folder: Path) -> None:
    """Prints, as JSON, the `version`, what is `predicted` for 0.npz, 1.npz, ..., and the `speed` on any speed.npz."""
    classify = PEERS[name]()
    read = {path.stem: list(np.load(path).values()) for path in folder.glob("*.npz")}
    speed = measure_speed(classify, read.pop("speed")) if "speed" in read else {}
    predicted = [classify(read[number]) for number in sorted(read, key=int)]
    version = FACE_API if name == "face-api" else importlib.metadata.version(name)
    print(json.dumps({"version": version, "predicted": predicted, "speed": speed}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
