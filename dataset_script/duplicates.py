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
from collections.abc import Sequence
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
    """Two images that show the same photograph.

    Attributes:
        split_a: `"train"`, unless all pairs were asked for.
        index_a: Row in that split.
        path_a: Path of that row.
        split_b: A held-out split, unless all pairs were asked for.
        index_b: Row in that split.
        path_b: Path of that row.
        distance: Hash bits that differ, of 256.
        exact: Whether the decoded pixels are identical.
    """

    split_a: str
    index_a: int
    path_a: str
    split_b: str
    index_b: int
    path_b: str
    distance: int
    exact: bool


def find_duplicates(
    dataset: DatasetDict, max_distance: int = MAX_DISTANCE, *, all_pairs: bool = False
) -> list[DuplicatePair]:
    """Finds the training images that repeat a held-out image, whatever their labels.

    Args:
        dataset: `train` and any other splits, with the columns `image` and `path`.
        max_distance: Largest number of differing hash bits, in [0, 256]. 0 still finds all exact duplicates; from 60
            on, faces that merely look alike are found too.
        all_pairs: Whether to find any two images that repeat each other, also within one split and in two held-out
            ones; each pair once.

    Returns:
        Exact pairs first, then by distance, split and row.

    Raises:
        ValueError: If `max_distance` is out of its range.
    """
    if not 0 <= max_distance <= HASH_SIZE**2:
        raise ValueError(f"max_distance is {max_distance}; it counts differing bits, from 0 to {HASH_SIZE**2}.")
    hashes, digests, paths = {}, {}, {}
    for split, rows in dataset.items():
        hashes[split], digests[split] = _hash_images(rows, split)
        paths[split] = rows["path"][:]
    if all_pairs:
        compared = list(combinations_with_replacement(dataset, 2))
    else:
        compared = [(TRAIN, split) for split in dataset if split != TRAIN]
    pairs = []
    for split_a, split_b in compared:
        for index_a, index_b, distance in _close_pairs(hashes[split_a], hashes[split_b], max_distance):
            if split_a == split_b and index_a >= index_b:
                continue
            exact = digests[split_a][index_a] == digests[split_b][index_b]
            path_a, path_b = paths[split_a][index_a], paths[split_b][index_b]
            pairs.append(DuplicatePair(split_a, index_a, path_a, split_b, index_b, path_b, distance, exact))
    return sorted(
        pairs,
        key=lambda pair: (not pair.exact, pair.distance, pair.split_b, pair.index_b, pair.split_a, pair.index_a),
    )


def drop_train_duplicates(dataset: DatasetDict, pairs: Sequence[DuplicatePair]) -> DatasetDict:
    """Returns the data set without the training images of the pairs; the other splits stay as they are.

    Args:
        dataset: The one that `pairs` was found in.
        pairs: What `find_duplicates` returned without `all_pairs`, or those of it that are to go.
    """
    dropped = {pair.index_a for pair in pairs}
    kept = [index for index in range(dataset[TRAIN].num_rows) if index not in dropped]
    return DatasetDict(dataset | {TRAIN: dataset[TRAIN].select(kept)})


def drop_all_duplicates(dataset: DatasetDict, name: str) -> DatasetDict:
    """Returns the data set without the training images that repeat a held-out one, and logs how many went.

    Args:
        dataset: See `find_duplicates`.
        name: What the log calls it.
    """
    kept = drop_train_duplicates(dataset, find_duplicates(dataset))
    before = dataset[TRAIN].num_rows
    logger.warning(
        "%s: dropped %d of %d training images that duplicate held-out ones.",
        name,
        before - kept[TRAIN].num_rows,
        before,
    )
    return kept


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
