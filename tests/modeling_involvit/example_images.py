"""Images and grey levels that tests of the image processor share."""

import numpy as np
import torch

# Every 16-bit grey level that is a whole 8-bit level, half a level above one, and both ends.
LEVELS_16 = np.concatenate([np.arange(256) * 257, np.arange(255) * 257 + 129]).astype(np.uint16).reshape(7, 73)
LEVELS_8 = np.concatenate([np.arange(256), np.arange(255) + 1]).astype(np.uint8).reshape(7, 73)


def noise(height=20, width=30, channels=3, seed=0):
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height, width):
    """A colour gradient, on which two resize filters that agree differ by rounding only."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [255 * x / (width - 1), 255 * y / (height - 1), 127.5 + 127.5 * np.sin(x / 9) * np.cos(y / 7)]
    return np.stack(channels, -1).round().astype(np.uint8)


def chw(hwc):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(hwc, -1, 0)))


def grey_rgb(grey):
    return torch.from_numpy(np.stack([grey] * 3))


def saved(image, path, **options):
    image.save(path, **options)
    return path
