"""The same photograph on both sides of a split: found by perceptual hash, reported, dropped from training.

`MAX_DISTANCE` was chosen by looking. Between the official training and validation parts of FER2013 (28,545 x 3,578
images) the number of pairs lies flat at 19 to 47 for each distance from 32 to 66 bits, then explodes (607 at 80, 12,376
at 90): below are repeats, above are merely faces.

| distance  | pairs | looked at | other people | what they are                                               |
|-----------|-------|-----------|--------------|-------------------------------------------------------------|
| identical |   360 |         - |            0 | the same pixels                                             |
| 0 to 44   |   395 |       135 |            0 | saved anew, other contrast, with a watermark, a hair's crop |
| 46 to 58  |   206 |       206 |            1 | the same, cropped or turned a little more                   |
| 60        |    34 |        34 |            1 | look-alikes begin; two pairs are other shots of one person  |

So by default 961 pairs are found there: 866 training images repeat 541 of the 3,578 validation images. On 1,340 faces
from press photos and film stills (897,130 pairs) 15 lie within the default: pictures of one person from one shot, at
46 and 50 bits also with another expression.

Of 150 such faces, each is found after JPEG at quality 30, halving, doubling, stretching by a quarter, removal of
colour, 30% more or less brightness or 50% more contrast (44 bits at the most); after a crop of 2% on each side 99% are,
after one of 5% hardly any. The hash of 8 x 8 bits, the usual one, does not tell faces apart: at 8 of its 64 bits most
matches are of two people (32 of 45). Mirrored copies are not looked for: FER2013 has six such pairs within the default.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from itertools import combinations_with_replacement

import imagehash
import numpy as np
from datasets import Dataset, DatasetDict
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from involvit.pixels import to_rgb

from .faces import TRAIN

logger = logging.getLogger(__name__)

HASH_SIZE = 16
"""The hash holds the signs of the 16 x 16 lowest frequencies: 256 bits."""
MAX_DISTANCE = 58
_PAIRS_AT_ONCE = 2**22


@dataclass(frozen=True)
class DuplicatePair:
    """Two images of one photograph: `a` is for training and `b` held out, unless all pairs were asked for."""

    split_a: str
    index_a: int  # row in that split
    path_a: str
    split_b: str
    index_b: int
    path_b: str
    distance: int  # hash bits that differ, of 256
    exact: bool  # whether the decoded pixels are identical


def find_duplicates(
    dataset: DatasetDict, max_distance: int = MAX_DISTANCE, *, all_pairs: bool = False
) -> list[DuplicatePair]:
    """Finds the training images that repeat a held-out image, whatever their labels.

    Args:
        dataset: `train` and any other splits, with the columns `image` and `path`.
        max_distance: Largest number of differing hash bits, in [0, 256]. 0 still finds all exact duplicates; from 60
            on, faces that merely look alike are found too.
        all_pairs: Whether to find any two images that repeat each other, also within one split; each pair once.

    Returns:
        Exact pairs first, then by distance, split and row.

    Raises:
        ValueError: If `max_distance` is out of its range.
    """
    if not 0 <= max_distance <= HASH_SIZE**2:
        raise ValueError(f"max_distance is {max_distance}; it counts differing bits, from 0 to {HASH_SIZE**2}.")
    images = {split: (*_hash_images(rows, split), rows["path"][:]) for split, rows in dataset.items()}
    held_out = [(TRAIN, split) for split in dataset if split != TRAIN]
    pairs = []
    for split_a, split_b in combinations_with_replacement(dataset, 2) if all_pairs else held_out:
        (hashes_a, digests_a, paths_a), (hashes_b, digests_b, paths_b) = images[split_a], images[split_b]
        for a, b, distance in _close_pairs(hashes_a, hashes_b, max_distance):
            if split_a != split_b or a < b:
                exact = digests_a[a] == digests_b[b]
                pairs.append(DuplicatePair(split_a, a, paths_a[a], split_b, b, paths_b[b], distance, exact))
    return sorted(pairs, key=lambda p: (not p.exact, p.distance, p.split_b, p.index_b, p.split_a, p.index_a))


def drop_train_duplicates(dataset: DatasetDict, name: str) -> DatasetDict:
    """Returns the data set without the training images that repeat a held-out one, and logs how many went.

    Args:
        dataset: See `find_duplicates`; its other splits stay as they are.
        name: What the log calls it.
    """
    dropped = {pair.index_a for pair in find_duplicates(dataset)}
    rows = dataset[TRAIN]
    log = "%s: dropped %d of %d training images that duplicate held-out ones."
    logger.warning(log, name, len(dropped), rows.num_rows)
    return DatasetDict(dataset | {TRAIN: rows.select([row for row in range(rows.num_rows) if row not in dropped])})


def _hash_images(rows: Dataset, split: str) -> tuple[NDArray[np.uint64], list[bytes]]:
    """Returns the perceptual hashes, shape [N, 4], and a digest of the pixels of each image."""
    hashes = np.empty((rows.num_rows, HASH_SIZE**2 // 64), dtype=np.uint64)
    digests = []
    images = rows.select_columns("image")
    for index, row in enumerate(tqdm(images, f"Hashing {split}", unit="image", leave=False)):
        try:
            pixels = to_rgb(row["image"])
        except ValueError as error:
            raise ValueError(f"{rows[index]['path']}: {error}; repair or remove it") from error
        bits = imagehash.phash(Image.fromarray(pixels), hash_size=HASH_SIZE).hash
        hashes[index] = np.packbits(bits).view(np.uint64)
        digests.append(hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).digest())
    return hashes, digests


def _close_pairs(
    hashes_a: NDArray[np.uint64], hashes_b: NDArray[np.uint64], max_distance: int
) -> list[tuple[int, int, int]]:
    """Returns (row of a, row of b, distance) of all pairs within `max_distance` bits."""
    pairs = []
    step = max(1, _PAIRS_AT_ONCE // max(1, len(hashes_b)))
    for start in tqdm(range(0, len(hashes_a), step), "Comparing", leave=False):
        differing = hashes_a[start : start + step, None] ^ hashes_b
        distances = np.bitwise_count(differing).sum(axis=-1, dtype=np.uint16)
        close_a, close_b = np.nonzero(distances <= max_distance)
        pairs += zip((close_a + start).tolist(), close_b.tolist(), distances[close_a, close_b].tolist(), strict=True)
    return pairs
