from __future__ import annotations

import io
import itertools

import imagehash
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as PILImage
from PIL import ImageEnhance
from scipy.ndimage import gaussian_filter

from dataset_script import LABELS
from dataset_script.duplicates import drop_train_duplicates, find_duplicates

FEATURES = Features(
    {"image": Image(), "label": ClassLabel(names=list(LABELS)), "group": Value("string"), "path": Value("string")}
)


def photo(seed, size=96):
    """Smooth random colour: like a photograph, most of its energy is in low frequencies."""
    noise = np.random.default_rng(seed).standard_normal((size, size, 3))
    smooth = gaussian_filter(noise, (size / 24, size / 24, 0))
    return PILImage.fromarray(np.uint8(np.interp(smooth, (smooth.min(), smooth.max()), (0, 255))))


def encode(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def dataset_of(**splits):
    """A data set whose splits are given as lists of PIL images or encoded bytes."""
    tables = {}
    for split, images in splits.items():
        rows = [
            {
                "image": {"bytes": image if isinstance(image, bytes) else encode(image), "path": None},
                "label": index % len(LABELS),
                "group": f"person {index}",
                "path": f"{split}/{index}.png",
            }
            for index, image in enumerate(images)
        ]
        tables[split] = Dataset.from_list(rows, features=FEATURES)
    return DatasetDict(tables)


def rows_of(pairs):
    return [(pair.index_a, pair.split_b, pair.index_b) for pair in pairs]


@pytest.mark.parametrize(
    "copy",
    [
        lambda image: encode(image, "JPEG", quality=40),
        lambda image: image.resize((48, 48)),
        lambda image: image.resize((150, 120), PILImage.Resampling.BICUBIC),
        lambda image: ImageEnhance.Brightness(image).enhance(0.7),
        lambda image: ImageEnhance.Contrast(image).enhance(0.6),
        lambda image: image.convert("L"),
        lambda image: image.crop((1, 1, 95, 95)),
    ],
    ids=["jpeg", "smaller", "stretched", "darker", "flatter", "grey", "cropped"],
)
def test_an_altered_copy_is_a_near_duplicate(copy):
    dataset = dataset_of(train=[photo(0), photo(1), photo(2)], validation=[photo(3), copy(photo(1))])
    pairs = find_duplicates(dataset)
    assert rows_of(pairs) == [(1, "validation", 1)]
    assert not pairs[0].exact


@pytest.mark.parametrize(
    "original", [photo(1), photo(1).convert("L"), photo(1).quantize(32)], ids=["colour", "grey", "palette"]
)
def test_the_same_pixels_in_another_file_are_an_exact_duplicate(original):
    same = encode(original.convert("RGB"), "WEBP", lossless=True)
    (pair,) = find_duplicates(dataset_of(train=[photo(0), original], validation=[photo(2), same]), max_distance=0)
    assert pair.exact and pair.distance == 0
    assert (pair.split_a, pair.index_a, pair.path_a) == ("train", 1, "train/1.png")
    assert (pair.split_b, pair.index_b, pair.path_b) == ("validation", 1, "validation/1.png")


def test_the_same_pixel_values_in_another_shape_are_not_exact():
    stripes = PILImage.fromarray(np.tile(np.arange(64, dtype=np.uint8), (32, 1)))
    reshaped = PILImage.fromarray(np.asarray(stripes).reshape(64, 32))
    pairs = find_duplicates(dataset_of(train=[stripes], validation=[reshaped]), max_distance=256)
    assert [pair.exact for pair in pairs] == [False]


def test_different_images_are_no_duplicates():
    images = [photo(seed, size=48) for seed in range(300)]
    assert find_duplicates(dataset_of(train=images[:200], validation=images[200:250], test=images[250:])) == []


def test_distances_are_those_of_imagehash():
    train, validation = [photo(0), photo(1)], [photo(2), ImageEnhance.Contrast(photo(0)).enhance(2)]
    pairs = find_duplicates(dataset_of(train=train, validation=validation), max_distance=256)
    expected = {
        (i, j): imagehash.phash(a, hash_size=16) - imagehash.phash(b, hash_size=16)
        for i, a in enumerate(train)
        for j, b in enumerate(validation)
    }
    assert {(pair.index_a, pair.index_b): pair.distance for pair in pairs} == expected


def test_every_held_out_split_is_searched_and_repeats_within_one_split_are_not_reported():
    dataset = dataset_of(
        train=[photo(0), photo(0), photo(1)],
        validation=[photo(2), photo(2), photo(0)],
        test=[photo(2), photo(1).resize((64, 64))],
    )
    assert rows_of(find_duplicates(dataset)) == [(0, "validation", 2), (1, "validation", 2), (2, "test", 1)]


def test_all_pairs_are_those_of_any_two_images_each_once():
    repeated = {"train": [0, 0, 1, 0], "validation": [2, 2, 0], "test": [2, 3]}
    dataset = dataset_of(**{split: [photo(seed) for seed in seeds] for split, seeds in repeated.items()})
    images = [(split, index, seed) for split, seeds in repeated.items() for index, seed in enumerate(seeds)]
    expected = {(a[:2], b[:2]) for a, b in itertools.combinations(images, 2) if a[2] == b[2]}
    pairs = find_duplicates(dataset, all_pairs=True)
    assert len(pairs) == len(expected)
    assert {((pair.split_a, pair.index_a), (pair.split_b, pair.index_b)) for pair in pairs} == expected
    assert all(pair.path_a == f"{pair.split_a}/{pair.index_a}.png" and pair.exact for pair in pairs)


def test_all_pairs_within_one_split_are_searched_in_pieces_with_the_same_result(monkeypatch):
    dataset = dataset_of(train=[photo(seed, 32) for seed in (0, 1, 2, 1, 0)])
    whole = find_duplicates(dataset, all_pairs=True)
    monkeypatch.setattr("dataset_script.duplicates._PAIRS_AT_ONCE", 4)
    assert find_duplicates(dataset, all_pairs=True) == whole
    assert [(pair.index_a, pair.index_b) for pair in whole] == [(1, 3), (0, 4)]


def test_many_images_are_compared_in_pieces_with_the_same_result(monkeypatch):
    dataset = dataset_of(train=[photo(seed, 32) for seed in range(9)], validation=[photo(8, 32), photo(3, 32)])
    whole = find_duplicates(dataset, max_distance=130)
    monkeypatch.setattr("dataset_script.duplicates._PAIRS_AT_ONCE", 4)
    assert find_duplicates(dataset, max_distance=130) == whole
    assert rows_of(whole[:2]) == [(8, "validation", 0), (3, "validation", 1)]


def test_images_of_16_bits_are_told_apart():
    def deep(seed):
        return PILImage.fromarray(20_000 + np.asarray(photo(seed).convert("L")).astype(np.uint16) * 100)

    dataset = dataset_of(train=[deep(0), deep(1)], validation=[deep(1), deep(2)])
    assert [(pair.index_a, pair.index_b, pair.exact) for pair in find_duplicates(dataset)] == [(1, 0, True)]


def test_dropping_removes_train_rows_only():
    dataset = dataset_of(train=[photo(seed) for seed in range(4)], validation=[photo(1), photo(9)], test=[photo(3)])
    cleaned = drop_train_duplicates(dataset, "photos")
    assert cleaned["train"]["path"][:] == ["train/0.png", "train/2.png"]
    assert cleaned["validation"] is dataset["validation"] and cleaned["test"] is dataset["test"]
    assert dataset["train"].num_rows == 4
    assert find_duplicates(cleaned) == []


@pytest.mark.parametrize("max_distance", [-1, 257])
def test_an_impossible_distance_is_refused(max_distance):
    with pytest.raises(ValueError, match="from 0 to 256"):
        find_duplicates(dataset_of(train=[photo(0)], validation=[photo(1)]), max_distance=max_distance)
