import numpy as np
import pytest

from involvit.training.augmentation import build_augmentation

SPEC = [{"HorizontalFlip": {"p": 0.5}}, {"RGBShift": {"r_shift_limit": [-20, 20], "p": 1.0}}]


def test_the_seed_alone_decides_the_augmentation():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    one, other = build_augmentation(SPEC, 32), build_augmentation(SPEC, 32)
    results = []
    for seed in (1, 2, 3):
        other(image=image)  # what came before must not matter
        one.set_random_seed(seed)
        other.set_random_seed(seed)
        results.append(one(image=image)["image"])
        np.testing.assert_array_equal(results[-1], other(image=image)["image"])
    assert not np.array_equal(results[0], results[1])


def test_transforms_act_in_their_order_with_their_arguments():
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    flipped = build_augmentation([{"HorizontalFlip": {"p": 1.0}}], 4)(image=image)["image"]
    np.testing.assert_array_equal(flipped, image[:, ::-1])
    both = build_augmentation([{"HorizontalFlip": {"p": 1.0}}, {"Transpose": {"p": 1.0}}], 4)(image=image)["image"]
    np.testing.assert_array_equal(both, image[:, ::-1].transpose(1, 0, 2))
    np.testing.assert_array_equal(build_augmentation([], 4)(image=image)["image"], image)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"HorizontalFlop": {}}, "did you mean HorizontalFlip"),
        ({"Compose": {}}, "Compose groups others, which a recipe cannot"),
        ({"OneOf": {"transforms": [], "p": 0.5}}, "OneOf groups others, which a recipe cannot"),
        ({"Normalize": {"p": 0.1}}, r"Normalize gives float32 \[32, 32, 3\]; it must give uint8 images of 32 x 32"),
        ({"Resize": {"height": 50, "width": 50}}, r"Resize gives uint8 \[50, 50, 3\]; it must give"),
        ({"RandomCrop": {"height": 500, "width": 500}}, "RandomCrop: Crop size .* it must give"),
        ({"MaskDropout": {"p": 0.5}}, "MaskDropout: .*mask.* it must give"),
        ({"RGBShift": {"strength": 3}}, "RGBShift.*strength"),
        ({"Affine": {"scale": "large"}}, "Affine.*scale"),
    ],
)
def test_a_mistake_names_the_transform(spec, message):
    with pytest.raises(ValueError, match=message):
        build_augmentation([spec], 32)
