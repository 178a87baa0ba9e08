"""The image processor against PIL, arithmetic in float64, and a process that cannot import this project."""

import base64
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import functional as tvF
from transformers import ViTConfig, ViTForImageClassification, pipeline

from modeling_involvit import InvolViTImageProcessor

MEAN = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
# Every 16-bit grey level that is a whole 8-bit level, half a level above one, and both ends.
LEVELS_16 = np.concatenate([np.arange(256) * 257, np.arange(255) * 257 + 129]).astype(np.uint16).reshape(7, 73)
LEVELS_8 = np.concatenate([np.arange(256), np.arange(255) + 1]).astype(np.uint8).reshape(7, 73)


@pytest.fixture(scope="module")
def processor():
    return InvolViTImageProcessor(size=32)


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


def on_white(rgb, alpha):
    """Alpha compositing onto white, in float64."""
    alpha = alpha[..., None] / 255
    return rgb * alpha + 255 * (1 - alpha)


# ---------------------------------------------------------------- the whole way


def test_defaults_are_those_of_the_paper_and_imagenet():
    pixel_values = InvolViTImageProcessor()(Image.fromarray(noise()), return_tensors="pt").pixel_values
    assert pixel_values.shape == (1, 3, 352, 352) and pixel_values.dtype == torch.float32


def test_normalisation_is_the_formula_in_float64(processor):
    pixels = noise(32, 32)
    expected = (np.moveaxis(pixels, -1, 0) / 255 - MEAN) / STD
    np.testing.assert_allclose(processor(pixels, return_tensors="np").pixel_values[0], expected, atol=2e-6)


def test_size_mean_and_std_of_the_instance_are_used():
    processor = InvolViTImageProcessor(size={"height": 8, "width": 12}, image_mean=[0.5] * 3, image_std=[0.25] * 3)
    white = Image.new("RGB", (5, 5), "white")
    torch.testing.assert_close(processor(white, return_tensors="pt").pixel_values, torch.full((1, 3, 8, 12), 2.0))


@pytest.mark.parametrize(("height", "width"), [(480, 640), (48, 48), (33, 97)])
def test_resize_agrees_with_pil_bilinear(height, width):
    pixels = smooth(height, width)
    resized = InvolViTImageProcessor(size=64)(pixels, do_rescale=False, do_normalize=False).pixel_values[0]
    by_pil = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR))
    assert resized.dtype == torch.uint8
    assert (resized.int() - chw(by_pil).int()).abs().max() <= 1


@pytest.mark.parametrize(("height", "width"), [(480, 640), (20, 24), (33, 97)])
def test_channels_last_memory_leaves_the_resize_unchanged(processor, height, width):
    pixels = noise(height, width)
    contiguous = tvF.resize(chw(pixels).contiguous(), [32, 32], antialias=True)
    assert torch.equal(processor(pixels, do_rescale=False, do_normalize=False).pixel_values[0], contiguous)


@pytest.mark.parametrize("kind", ["rgb", "grey", "rgba", "16-bit", "float"])
def test_two_steps_equal_one_call(processor, kind):
    image = {
        "rgb": noise(),
        "grey": noise(channels=0),
        "rgba": noise(channels=4),
        "16-bit": LEVELS_16,
        "float": noise() / 255,
    }[kind]
    at_once = processor(image, return_tensors="pt").pixel_values
    resized = processor.resize(processor.process_image(image), processor.size, processor.resample)
    assert resized.dtype == torch.uint8 and resized.shape == (3, 32, 32)
    hwc = resized.permute(1, 2, 0).numpy()  # what augmentation works on
    assert torch.equal(processor(hwc, do_resize=False, return_tensors="pt").pixel_values, at_once)


# ---------------------------------------------------------------- kinds of input


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


def test_rescaled_floats_are_left_alone_when_told_so(processor):
    unit = np.random.default_rng(0).random((32, 32, 3), dtype=np.float32)
    expected = (np.moveaxis(unit.astype(np.float64), -1, 0) - MEAN) / STD
    result = processor(unit, do_rescale=False, return_tensors="np").pixel_values[0]
    np.testing.assert_allclose(
        result, processor(unit, return_tensors="np").pixel_values[0], atol=0.5 / 255 / 0.224 + 1e-6
    )
    np.testing.assert_allclose(result, expected, atol=2e-6)
    ready = torch.from_numpy(expected).float()
    passed_on = processor(ready, do_resize=False, do_rescale=False, do_normalize=False, return_tensors="pt")
    assert torch.equal(passed_on.pixel_values[0], ready)


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(processor, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(Image.fromarray(smooth(24, 40)), tmp_path / "turned.png", exif=exif)
    with Image.open(path) as image:
        expected = chw(np.asarray(ImageOps.exif_transpose(image)))
        assert expected.shape == ((3, 40, 24) if orientation >= 5 else (3, 24, 40))
        assert torch.equal(processor.process_image(image), expected)
    assert torch.equal(processor.process_image(path), expected)


def test_pil_alone_clips_16_bit():
    by_pil = np.asarray(Image.fromarray(LEVELS_16).convert("RGB"))[..., 0]
    np.testing.assert_array_equal(by_pil, LEVELS_16.clip(max=255))  # why the processor scales them itself


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_grey_files_are_scaled_by_257(processor, tmp_path, suffix):
    path = saved(Image.fromarray(LEVELS_16), tmp_path / f"deep.{suffix}")
    assert torch.equal(processor.process_image(path), grey_rgb(LEVELS_8))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_16_bit_pil_modes_are_scaled_by_257(processor, mode):
    dtype = {"I;16": "<u2", "I;16B": ">u2", "I": np.int32}[mode]
    image = Image.frombytes(mode, LEVELS_16.shape[::-1], LEVELS_16.astype(dtype).tobytes())
    assert torch.equal(processor.process_image(image), grey_rgb(LEVELS_8))


def test_low_values_are_dark_in_16_bit_types_and_8_bit_levels_in_wider_ones(processor):
    levels = np.array([[0, 100, 255]])
    for image in (levels.astype(np.uint16), Image.fromarray(levels.astype(np.uint16))):
        assert processor.process_image(image)[0].tolist() == [[0, 0, 1]]
    for image in (levels.astype(np.int64), Image.fromarray(levels.astype(np.int32))):
        assert processor.process_image(image)[0].tolist() == levels.tolist()


def test_float_tiff_in_either_range(processor, tmp_path):
    grey = noise(channels=0)
    for name, values in {"unit": grey / 255, "byte": grey}.items():
        path = saved(Image.fromarray(values.astype(np.float32)), tmp_path / f"{name}.tiff")
        assert Image.open(path).mode == "F"
        assert torch.equal(processor.process_image(path), grey_rgb(grey))


@pytest.mark.parametrize("as_file", [False, True])
def test_grey_and_bilevel_become_three_equal_channels(processor, tmp_path, as_file):
    grey = noise(channels=0)
    black_white = grey > 127
    for image, expected in ((Image.fromarray(grey), grey), (Image.fromarray(black_white), black_white * np.uint8(255))):
        given = saved(image, tmp_path / f"{image.mode}.png") if as_file else image
        assert torch.equal(processor.process_image(given), grey_rgb(expected))
    assert torch.equal(processor.process_image(black_white), grey_rgb(black_white * np.uint8(255)))


@pytest.mark.parametrize("kind", ["file", "pil", "uint8", "float"])
def test_rgba_is_composited_onto_white(processor, tmp_path, kind):
    rgba = noise(channels=4)
    rgba[:5, :, 3], rgba[5:10, :, 3] = 0, 255
    given = {
        "file": lambda: saved(Image.fromarray(rgba), tmp_path / "rgba.png"),
        "pil": lambda: Image.fromarray(rgba),
        "uint8": lambda: rgba,
        "float": lambda: rgba / 255,
    }[kind]()
    result = processor.process_image(given).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(result, on_white(rgba[..., :3], rgba[..., 3]), atol=1)
    np.testing.assert_array_equal(result[:5], 255)
    np.testing.assert_array_equal(result[5:10], rgba[5:10, :, :3])


def test_grey_with_alpha_is_composited_onto_white(processor, tmp_path):
    la = noise(channels=2)
    path = saved(Image.fromarray(la, "LA"), tmp_path / "la.png")
    expected = on_white(np.stack([la[..., 0]] * 3, -1), la[..., 1])
    np.testing.assert_allclose(processor.process_image(path).permute(1, 2, 0), expected, atol=1)


@pytest.mark.parametrize("transparent", [False, True])
def test_palette_png(processor, tmp_path, transparent):
    indices = np.arange(16, dtype=np.uint8).reshape(4, 4)
    palette = noise(1, 16)[0]
    alpha = np.linspace(0, 255, 16).round().astype(np.uint8) if transparent else np.full(16, 255, np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    options = {"transparency": alpha.tobytes()} if transparent else {}
    path = saved(image, tmp_path / "palette.png", **options)
    assert Image.open(path).mode == "P"
    expected = on_white(palette[indices], alpha[indices])
    np.testing.assert_allclose(processor.process_image(path).permute(1, 2, 0), expected, atol=1 if transparent else 0)


def test_cmyk_jpeg(processor, tmp_path):
    patches = {"red": (0, 255, 255, 0), "white": (0, 0, 0, 0), "black": (0, 0, 0, 255), "blue": (255, 255, 0, 0)}
    rgb = {"red": (255, 0, 0), "white": (255, 255, 255), "black": (0, 0, 0), "blue": (0, 0, 255)}
    for name, ink in patches.items():
        path = saved(Image.new("CMYK", (16, 16), ink), tmp_path / f"{name}.jpg", quality=100)
        assert Image.open(path).mode == "CMYK"
        pixels = processor.process_image(path)
        assert (pixels.int() - torch.tensor(rgb[name]).view(3, 1, 1)).abs().max() <= 3, name


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_animated_files_give_their_first_frame(processor, tmp_path, suffix):
    first, *others = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime"))
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(first, tmp_path / f"moving.{suffix}", save_all=True, append_images=others, duration=50, **options)
    with Image.open(path) as image:
        assert image.n_frames == 3
        assert torch.equal(processor.process_image(path), chw(np.asarray(first)))
        image.seek(1)  # a frame chosen by hand stays chosen
        assert torch.equal(processor.process_image(image), chw(np.asarray(others[0])))


def test_channels_are_kept_where_conversion_is_off(tmp_path):
    processor = InvolViTImageProcessor(size=16, do_convert_rgb=False, image_mean=[0.5], image_std=[0.5])
    assert processor(noise(channels=0), return_tensors="pt").pixel_values.shape == (1, 1, 16, 16)
    assert processor(Image.fromarray(noise(channels=0)), return_tensors="pt").pixel_values.shape == (1, 1, 16, 16)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([], "batch is empty"),
        (np.zeros((0, 8, 8, 3), np.uint8), "batch is empty"),
        (np.zeros(9, np.uint8), r"shape \[9\]"),
        (np.zeros((1, 2, 3, 8, 8), np.uint8), r"shape \[1, 2, 3, 8, 8\]"),
        (np.zeros((8, 8, 7), np.uint8), r"shape \[8, 8, 7\]"),
        (torch.zeros(5, 8, 8), r"shape \[5, 8, 8\]"),
        (np.zeros((0, 8, 3), np.uint8), r"no pixels.*\[0, 8, 3\]"),
        (np.zeros((0, 8), np.uint8), r"no pixels.*\[1, 0, 8\]"),
        (Image.new("RGB", (0, 5)), r"no pixels.*\(0, 5\)"),
        (None, "NoneType is not an image; give a PIL image"),
        (b"bytes", "bytes is not an image"),
        ([3, 4], "int is not an image"),
        ([np.zeros((8, 8, 3), np.uint8), {}], "dict is not an image"),
        (np.full((8, 8), "a"), "got <U1"),
        (np.zeros((8, 8), complex), "got complex128"),
        (torch.zeros(8, 8, dtype=torch.complex64), "complex64"),
        (np.full((8, 8), -1), "from -1 to -1"),
        (np.full((8, 8), 70000), "from 70000 to 70000"),
        (np.full((8, 8), 300.0), "from 300 to 300"),
        (np.full((8, 8), 1.5), "from 1.5 to 1.5"),
        (np.full((8, 8), np.nan), "from nan to nan"),
        (np.full((8, 8), np.inf), "from inf to inf"),
        (torch.randn(3, 8, 8) - 1, "do_rescale=False"),
        (Image.new("La", (4, 4)), "mode=La.*cannot be decoded"),
    ],
)
def test_bad_input_is_refused_in_one_line(processor, image, message):
    with pytest.raises(ValueError, match=message) as refusal:
        processor(image, return_tensors="pt")
    assert "\n" not in str(refusal.value)


def test_layout_that_does_not_fit_is_refused(processor):
    with pytest.raises(ValueError, match=r"shape \[8, 8, 3\] and input_data_format 'channels_first'"):
        processor(np.zeros((8, 8, 3), np.uint8), input_data_format="channels_first")


def test_missing_file_is_named(processor, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.png: no such file"):
        processor(tmp_path / "absent.png")


@pytest.mark.parametrize("kind", ["text", "empty", "truncated", "folder", "bomb"])
def test_unreadable_file_is_named(processor, tmp_path, monkeypatch, kind):
    path = tmp_path / "face.png"
    if kind == "folder":
        path.mkdir()
    elif kind == "bomb":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        Image.new("L", (20, 20)).save(path)
    else:
        buffer = io.BytesIO()
        Image.fromarray(noise(100, 100)).save(buffer, "PNG")
        path.write_bytes({"text": b"not an image", "empty": b"", "truncated": buffer.getvalue()[:9000]}[kind])
    with pytest.raises(ValueError, match=r"face\.png: cannot be read as an image") as refusal:
        processor([noise(), path])
    assert "\n" not in str(refusal.value)


def test_a_long_string_that_is_no_path_is_shortened(processor):
    with pytest.raises(ValueError, match=r"AAA\.\.\.: cannot be read as an image \(File name too long\)") as refusal:
        processor("A" * 5000)
    assert len(str(refusal.value)) < 300


def test_lazily_opened_truncated_image_is_refused(processor, tmp_path):
    path = saved(Image.fromarray(noise(100, 100)), tmp_path / "face.jpg")
    path.write_bytes(path.read_bytes()[:2000])
    with Image.open(path) as image, pytest.raises(ValueError, match=r"face\.jpg cannot be decoded"):
        processor(image)


# ---------------------------------------------------------------- saving, loading, other processes


def test_pickles_into_data_loader_workers(processor):
    clone = pickle.loads(pickle.dumps(processor))
    assert clone.to_dict() == processor.to_dict()
    images = [noise(seed=i) for i in range(4)]

    def collate(batch):
        return clone(batch, return_tensors="pt").pixel_values

    batches = list(DataLoader(images, batch_size=2, num_workers=1, collate_fn=collate))
    assert torch.equal(torch.cat(batches), processor(images, return_tensors="pt").pixel_values)


def test_pipeline_uses_it(processor, tmp_path):
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=32, patch_size=16, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_labels=7
    )
    model = ViTForImageClassification(config).eval()
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(noise())
    images = [image, str(saved(image, tmp_path / "turned.png", exif=exif)), image.convert("L")]
    with torch.no_grad():
        expected = model(processor(images, return_tensors="pt").pixel_values).logits.softmax(-1)
    results = pipeline("image-classification", model=model, image_processor=processor)(images, top_k=7)
    for scores, by_hand in zip(results, expected, strict=True):
        by_pipeline = {score["label"]: score["score"] for score in scores}
        assert [by_pipeline[config.id2label[i]] for i in range(7)] == pytest.approx(by_hand.tolist(), abs=1e-6)


LOAD_ELSEWHERE = """
import importlib.util, sys
import numpy as np, torch
from transformers import AutoImageProcessor

class NoProject:  # the package may be installed here; on a user's machine it is not
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "modeling_involvit":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoProject())

folder, again = sys.argv[1:]
for target in (folder, again):
    processor = AutoImageProcessor.from_pretrained(target, trust_remote_code=True)
    assert type(processor).__module__.startswith("transformers_modules."), type(processor)
    pixel_values = processor([f"{folder}/face.png", f"{folder}/deep.png"], return_tensors="pt").pixel_values
    assert torch.equal(pixel_values, torch.from_numpy(np.load(f"{folder}/expected.npy")))
    processor.save_pretrained(again)
assert "modeling_involvit" not in sys.modules
print("loaded twice")
"""


def test_loads_and_saves_again_where_the_project_cannot_be_imported(tmp_path):
    processor = InvolViTImageProcessor(size=24, image_mean=[0.4, 0.5, 0.6], image_std=[0.3, 0.2, 0.1])
    folder = tmp_path / "saved"
    processor.save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "image_processing_involvit.py",
        "preprocessor_config.json",
    ]
    paths = [
        saved(Image.fromarray(noise(channels=4)), folder / "face.png"),
        saved(Image.fromarray(LEVELS_16), folder / "deep.png"),
    ]
    np.save(folder / "expected.npy", processor(paths, return_tensors="np").pixel_values)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-I", "-c", LOAD_ELSEWHERE, str(folder), str(tmp_path / "again")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "loaded twice"


def test_settings_survive_saving(tmp_path):
    processor = InvolViTImageProcessor(size=24, image_mean=[0.4, 0.5, 0.6], do_normalize=False, resample=3)
    processor.save_pretrained(tmp_path)
    loaded = InvolViTImageProcessor.from_pretrained(tmp_path)
    settings = loaded.to_dict()
    assert settings["size"] == {"height": 24, "width": 24} and tuple(settings["image_mean"]) == (0.4, 0.5, 0.6)
    assert settings["do_normalize"] is False and settings["resample"] == 3
    image = noise()
    assert torch.equal(
        loaded(image, return_tensors="pt").pixel_values, processor(image, return_tensors="pt").pixel_values
    )
