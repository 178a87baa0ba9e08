"""The kinds of objects that an image or a batch may be."""

import base64
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from .example_images import chw, noise, saved


def test_each_kind_of_input_gives_the_same_pixel_values(processor, tmp_path):
    pixels = noise()
    path = saved(Image.fromarray(pixels), tmp_path / "image.png")
    data_url = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    kinds = [
        Image.fromarray(pixels),
        pixels,
        np.moveaxis(pixels, -1, 0),
        torch.from_numpy(pixels),
        chw(pixels),
        path,
        str(path),
        data_url,
        pixels / 255,
        (pixels / 255).astype(np.float16),
        torch.from_numpy(pixels / 255).to(torch.float64),
        pixels.astype(np.float32),
        pixels.astype(np.int64),
        pixels.astype(np.uint16) * 257,
        (pixels.astype(np.uint16) * 257).astype(">u2"),
        chw(pixels).to(torch.uint16) * 257,
    ]
    pixel_values = processor(kinds, return_tensors="pt").pixel_values
    assert pixel_values.shape == (len(kinds), 3, 32, 32)
    for i in range(len(kinds)):
        torch.testing.assert_close(pixel_values[i], pixel_values[0], atol=0, rtol=0, msg=f"kind {i}")


def test_batches_nested_lists_and_other_sequences_are_flattened_in_order(processor):
    class Column(Sequence):  # as a column of a datasets.Dataset
        def __init__(self, images):
            self.images = images

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            return self.images[index]

    images = [noise(seed=i) for i in range(4)]
    expected = torch.cat([processor(image, return_tensors="pt").pixel_values for image in images])
    stacked = np.stack(images)
    for batch in (
        images,
        tuple(images),
        [images[:1], images[1:]],
        Column([Image.fromarray(image) for image in images]),
        stacked,
        torch.from_numpy(stacked).permute(0, 3, 1, 2),
        [stacked[:2], *images[2:]],
    ):
        assert torch.equal(processor(batch, return_tensors="pt").pixel_values, expected)


def test_mixed_sizes_each_come_out_as_alone(processor):
    images = [noise(10, 20), noise(50, 9, channels=0), Image.fromarray(noise(48, 48, channels=4)), noise(1, 1)]
    together = processor(images, return_tensors="pt").pixel_values
    alone = torch.cat([processor(image, return_tensors="pt").pixel_values for image in images])
    assert torch.equal(together, alone)
    assert torch.equal(together, processor(images, return_tensors="pt", disable_grouping=False).pixel_values)


def test_input_data_format_decides_an_ambiguous_shape(processor):
    pixels = noise(3, 40)  # [3, 40, 3]
    assert torch.equal(processor.process_image(pixels, input_data_format="channels_last"), chw(pixels))
    assert torch.equal(processor.process_image(pixels, input_data_format="channels_first"), torch.from_numpy(pixels))


def test_views_and_read_only_arrays_are_accepted_and_inputs_stay_as_they_were(processor, recwarn):
    pixels = noise()
    before = pixels.copy()
    bgr = pixels[:, :, ::-1]
    assert torch.equal(processor.process_image(bgr), chw(pixels).flip(0))
    read_only = np.asarray(Image.fromarray(pixels))
    assert not read_only.flags.writeable
    processor([pixels, bgr, read_only, pixels / 255], return_tensors="pt")
    np.testing.assert_array_equal(pixels, before)
    assert not [warning for warning in recwarn if "writable" in str(warning.message)]
