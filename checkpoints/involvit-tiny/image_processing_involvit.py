"""Pixels in, `pixel_values` out: the image processor of InvolViT, on torchvision and on PIL.

- takes PIL images, NumPy arrays, torch tensors, paths, URLs, and (nested) lists and 4-D batches of them, sizes mixed
- brings each to upright 8-bit RGB first, so that a file, its PIL image and its array give the same `pixel_values`
- then resizes, rescales and normalises as every torchvision- or PIL-backed processor of transformers does
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from transformers.image_processing_backends import PilBackend, TorchvisionBackend
from transformers.image_transforms import convert_to_rgb
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    ChannelDimension,
    ImageInput,
    PILImageResampling,
    SizeDict,
    infer_channel_dimension_format,
    torch_pil_interpolation_mapping,
)

NUM_CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
ACCEPTED = "a PIL image, a NumPy array, a torch tensor, a path or URL of an image, or a list of these"
BACKENDS = {
    "torchvision": "image_processing_involvit.InvolViTImageProcessor",
    "pil": "image_processing_involvit.InvolViTImageProcessorPil",
}


class _AnyImage:
    """What both image processors share: their defaults, the inputs that they take, and the names they are saved by."""

    size = {"height": 352, "width": 352}  # noqa: RUF012 -- copied by the base class for each instance
    resample = PILImageResampling.BILINEAR
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    do_convert_rgb = do_resize = do_rescale = do_normalize = True

    def to_dict(self) -> dict[str, object]:
        """Gives the settings, and both classes, so that what one saves loads with either backend."""
        return super().to_dict() | {"auto_map": {"AutoImageProcessor": dict(BACKENDS)}}

    def _prepare_images_structure(self, images: ImageInput, expected_ndims: int = 3) -> list:
        # The base class takes no lists that mix kinds, ranks or paths.
        images = list(_flatten(images))
        if not images:
            raise ValueError(f"no images: the batch is empty; give {ACCEPTED}")
        return images


class InvolViTImageProcessor(_AnyImage, TorchvisionBackend):
    r"""Turns images into the `pixel_values` an InvolViT model expects: float32 of shape [B, 3, size, size].

    What comes out right, and how:

    - EXIF orientation is applied, for files and for PIL images that still carry it.
    - Grey images become three equal channels; CMYK, palette and other colour modes are converted by PIL.
    - Transparency (an alpha channel or a transparent colour) is composited onto white, as transformers does.
    - Animated files give their first frame; a PIL image gives the frame it was sought to.
    - 16-bit images (PIL mode `I;16`, uint16 arrays) are divided by 257; PIL's own conversion would clip them at 255.
      Other wide integers (PIL mode `I`) are 8-bit where the largest value is at most 255, and 16-bit above.
    - Floating-point images (PIL mode `F`, float arrays) range over [0, 1], or over [0, 255] where the largest value is
      at least 2. They are rounded to 8 bit, unless `do_rescale=False` says that they already have their final scale.
    - Arrays are [H, W], [C, H, W] or [H, W, C] with 1, 3 or 4 channels, or batches [B, C, H, W] or [B, H, W, C];
      `input_data_format` decides where the shape fits both.

    `pipeline("image-classification")` itself converts PIL images and paths to RGB before they arrive here, which clips
    16-bit images and drops transparency: give it `processor.process_image(path)` for those.

    Size, mean, deviation and the `do_*` switches are saved in `preprocessor_config.json`. Augmentation fits between the
    steps, which give the same `pixel_values` one by one:

        pixels = processor.process_image(image)  # uint8 [3, H, W], upright RGB
        pixels = processor.resize(pixels, processor.size, processor.resample)  # uint8 [3, size, size]
        inputs = processor(pixels, do_resize=False, return_tensors="pt")
    """

    def process_image(
        self,
        image: str | os.PathLike | Image.Image | np.ndarray | Tensor,
        do_convert_rgb: bool = True,
        input_data_format: str | ChannelDimension | None = None,
        device: torch.device | str | None = None,
        do_rescale: bool = True,
        **kwargs: object,
    ) -> Tensor:
        """Brings one image of any accepted kind to upright 8-bit RGB at its own size: uint8 [3, H, W], 0 to 255.

        Args:
            image: A PIL image, an array or tensor of 2 or 3 dimensions, a path, or an `http(s)` or `data:image/` URL.
            do_convert_rgb: Whether to convert to RGB; else the channels stay as they are (of a palette, its indices).
            input_data_format: `"channels_first"` or `"channels_last"` of an array; by default inferred from its shape.
            device: Where to put the result.
            do_rescale: Whether the values are still to be rescaled; if not, floating-point values stay as they are.
            **kwargs: Options of the later steps, not used here.

        Raises:
            FileNotFoundError: If there is no file at the path.
            ValueError: If the file cannot be read as an image, or the object is of another type, shape or range.
        """
        pixels = _pixels(image, do_convert_rgb, input_data_format, do_rescale)
        if do_convert_rgb:
            pixels = self.convert_to_rgb(pixels, ChannelDimension.FIRST)
        return pixels if device is None else pixels.to(device)

    def rescale_and_normalize(self, images: Tensor, *args: object, **kwargs: object) -> Tensor:
        """Does what the base class does, in contiguous NCHW, which is faster for the arithmetic by channel."""
        return super().rescale_and_normalize(images.contiguous(), *args, **kwargs)


class InvolViTImageProcessorPil(_AnyImage, PilBackend):
    """`InvolViTImageProcessor` on PIL and NumPy: for `backend="pil"`, and where there is no torchvision.

    It takes the same inputs by the same rules. Its `pixel_values` agree to one grey level, the rounding of the resize.
    """

    def process_image(
        self,
        image: str | os.PathLike | Image.Image | np.ndarray | Tensor,
        do_convert_rgb: bool = True,
        input_data_format: str | ChannelDimension | None = None,
        do_rescale: bool = True,
        **kwargs: object,
    ) -> np.ndarray:
        """Does what `InvolViTImageProcessor.process_image` does, as a NumPy array: uint8 [3, H, W], 0 to 255."""
        pixels = _pixels(image, do_convert_rgb, input_data_format, do_rescale)
        pixels = (pixels.float() if pixels.is_floating_point() else pixels).numpy(force=True)
        return self.convert_to_rgb(pixels, ChannelDimension.FIRST) if do_convert_rgb else pixels

    def resize(
        self, image: np.ndarray, size: SizeDict, resample: PILImageResampling | None = None, **kwargs: object
    ) -> np.ndarray:
        """Resizes [C, H, W] as the base class does, but floating-point values and four channels as they are.

        The base class would round the former to 8 bit and weight the latter by the fourth, as if it were an alpha.
        """
        if image.dtype == np.uint8 and len(image) != 4:
            return super().resize(image, size, resample, **kwargs)
        blank = np.zeros((1, *image.shape[1:]), np.uint8)
        _, height, width = super().resize(blank, size, PILImageResampling.NEAREST).shape  # `size` has several forms
        resample = PILImageResampling.BILINEAR if resample is None else resample
        resample = torch_pil_interpolation_mapping.get(resample, resample)
        channels = [Image.fromarray(channel).resize((width, height), resample) for channel in image]
        return np.stack([np.asarray(channel) for channel in channels])


InvolViTImageProcessor.register_for_auto_class("AutoImageProcessor")
InvolViTImageProcessorPil.register_for_auto_class("AutoImageProcessor")


def _pixels(image: object, do_convert_rgb: bool, input_data_format: str | None, do_rescale: bool) -> Tensor:
    """Reads an image of any accepted kind as [C, H, W] pixels: see `InvolViTImageProcessor.process_image`."""
    if isinstance(image, (str, os.PathLike)):
        image = _open(image)
    if isinstance(image, Image.Image):
        # Stays channels-last in memory, where the CPU's resize is 3 to 6 times faster with the same bits.
        image, input_data_format = _decode(image, do_convert_rgb), ChannelDimension.LAST
    if isinstance(image, np.ndarray):
        if image.dtype.kind not in "buif":
            raise ValueError(f"an image array holds booleans, integers or floats, got {image.dtype}")
        # torch does not take foreign byte orders, negative strides and read-only arrays: they are copied.
        image = torch.from_numpy(np.require(image, image.dtype.newbyteorder("="), ["C", "W"]))
    if not isinstance(image, Tensor):
        raise ValueError(f"{type(image).__name__} is not an image; give {ACCEPTED}")
    pixels = _channels_first(image, input_data_format)
    return _to_8_bit(pixels) if do_rescale or not pixels.is_floating_point() else pixels


def _flatten(images: object) -> Iterator[object]:
    """Yields the single images of nested sequences (a datasets column is one) and of 4-D batches."""
    if isinstance(images, Sequence) and not isinstance(images, (str, bytes)):
        for image in images:
            yield from _flatten(image)
    elif isinstance(images, (np.ndarray, Tensor)) and images.ndim == 4:
        yield from images
    else:
        yield images


def _open(source: str | os.PathLike) -> Image.Image:
    """Opens a path or URL; unlike `transformers.image_utils.load_image` it keeps the mode of the file."""
    name = str(source)
    shown = name if len(name) <= 200 else f"{name[:197]}..."
    try:
        if name.startswith(("http://", "https://", "data:image/")):
            with urlopen(name, timeout=60) as response:
                content = response.read()
        else:
            content = Path(source).read_bytes()
        image = Image.open(BytesIO(content))
        image.load()
    except FileNotFoundError:
        raise FileNotFoundError(f"{shown}: no such file; give {ACCEPTED}") from None
    except Exception as error:  # decoders raise nearly anything on damaged files
        is_unknown = isinstance(error, UnidentifiedImageError)
        reason = "unknown format" if is_unknown else getattr(error, "strerror", None) or error
        raise ValueError(f"{shown}: cannot be read as an image ({reason}); replace or remove it") from error
    return image


def _decode(image: Image.Image, do_convert_rgb: bool) -> np.ndarray:
    """Turns a PIL image into upright pixels, [H, W] or [H, W, C]."""
    if 0 in image.size:
        raise ValueError(f"the PIL image has no pixels: its width and height are {image.size}")
    try:
        image = ImageOps.exif_transpose(image)
        # PIL would clip modes that are wider than 8 bit (I, I;16*, F).
        if do_convert_rgb and not image.mode.startswith(("I", "F")):
            return convert_to_rgb(image, return_numpy=True)
        return np.array(image)
    except Exception as error:  # a file that PIL opened lazily is decoded only here
        name = getattr(image, "filename", "") or image
        raise ValueError(f"the PIL image {name} cannot be decoded to RGB ({error}); convert or replace it") from error


def _channels_first(image: Tensor, input_data_format: str | ChannelDimension | None) -> Tensor:
    """Views [H, W], [C, H, W] or [H, W, C] as [C, H, W]."""
    if image.ndim == 2:
        image, input_data_format = image[None], ChannelDimension.FIRST
    layout = None if input_data_format is None else ChannelDimension(input_data_format)
    channel_axes = {None: (0, -1), ChannelDimension.FIRST: (0,), ChannelDimension.LAST: (-1,)}[layout]
    if image.ndim != 3 or not any(image.shape[axis] in NUM_CHANNELS for axis in channel_axes):
        given = f"{list(image.shape)}" + (f" and input_data_format '{layout.value}'" if layout else "")
        wanted = "[H, W], [C, H, W] or [H, W, C] with 1, 3 or 4 channels, or a 4-D batch of these"
        raise ValueError(f"got an image array of shape {given}; give {wanted}")
    if image.numel() == 0:
        raise ValueError(f"the image array has no pixels: its shape is {list(image.shape)}")
    layout = layout or infer_channel_dimension_format(image, NUM_CHANNELS)
    return image.permute(2, 0, 1) if layout == ChannelDimension.LAST else image


def _to_8_bit(image: Tensor) -> Tensor:
    """Scales values of any real type to uint8, by the rules that the class documents."""
    if image.dtype == torch.uint8:
        return image
    if image.is_complex():
        raise ValueError(f"an image tensor holds booleans, integers or floats, got {image.dtype}")
    values, is_float = image.float(), image.is_floating_point()
    low, high = (bound.item() for bound in values.aminmax())
    scale = 1.0
    if image.dtype == torch.bool or (is_float and high < 2):
        scale = 255.0
    elif image.dtype == torch.uint16 or (not is_float and high > 255):
        scale = 1 / 257
    # Half a level of overshoot rounds away; NaN fails both comparisons.
    if not (low * scale >= -0.5 and high * scale <= 255.5):
        valid = "[0, 1] or [0, 255]" if is_float else "[0, 255] or [0, 65535]"
        ready = "or pass do_rescale=False (and do_normalize=False) for floating-point pixels that are ready"
        raise ValueError(
            f"a {image.dtype} image holds values from {low:g} to {high:g}; give values in {valid}, {ready}"
        )
    return (values * scale).round().clamp(0, 255).to(torch.uint8)
