"""A short video of noise that moves."""

import cv2
import numpy as np

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def write_video(path, codec="mp4v", count=20):
    """Writes frames of 64 x 48 pixels, ten a second, and returns the path."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10, (64, 48))
    assert writer.isOpened()
    for number in range(count):
        writer.write(np.roll(NOISE, number))
    writer.release()
    return path
