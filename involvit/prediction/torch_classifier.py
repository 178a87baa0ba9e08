"""Classifies faces with torch: our own models and whatever `AutoModelForImageClassification` loads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image
from torch import nn
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    PreTrainedConfig,
    TimmWrapperImageProcessor,
)
from transformers.utils import logging

from modeling_involvit import InvolViTForImageClassification, InvolViTImageProcessor, fold_for_inference

from ..files import expand_user
from ..hub_answer import fault_of_hub
from ..model_folders import PROCESSOR, fault_of_model_folder
from ..names import file_name
from .classifier import check_labels, reason_of
from .forks import check_is_not_forked
from .processes import processes

HUB_TIMEOUT_S = 10.0
MOST_CLASSES = 100_000


class TorchClassifier:
    """A `Classifier` from a folder or Hub id, on the GPU if there is one.

    Args:
        model: Folder or Hub id of an image classification model of transformers, with its image processor. InvolViT
            models are loaded by the classes installed here, whatever code they bring.
        trust_remote_code: Whether code that other models bring is run; without, those that need it are refused. Weights
            are read as tensors alone either way.

    A copy loads the model again.

    Attributes:
        network: The model, in evaluation mode and without gradients of its parameters; an InvolViT model is
            folded (`fold_for_inference`). Threads share it: it is not to be changed.
        processor: Turns images into its `pixel_values`.

    Raises:
        FileNotFoundError: If `model` can only be a path, and there is no such folder.
        ValueError: If the model cannot be loaded, or lacks weights; the message says what would do.
    """

    def __init__(self, model: str | Path, trust_remote_code: bool = True) -> None:
        check_is_not_forked()
        network, self.processor = load_network(str(model), trust_remote_code)
        sha256 = hashlib.sha256()
        for tensor in network.state_dict().values():
            sha256.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy())
        folder = expand_user(model)
        self._source = str(folder.absolute()) if folder.is_dir() else str(model), trust_remote_code
        self.name = f"{file_name(folder.resolve().name)}@{sha256.hexdigest()[:8]}"
        self.labels = tuple(label for _, label in sorted(network.config.id2label.items()))
        try:
            self.image_size = self.preprocess([np.zeros((512, 512, 3), np.uint8)]).shape[-1]
        except Exception as error:  # settings of every kind
            raise ValueError(f"{model} has settings that cannot be used: {reason_of(error)}") from error
        device = processes().device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(device).eval().requires_grad_(False)
        if network.config.model_type == "involvit":
            fold_for_inference(network)

    def __reduce__(self) -> tuple[type, tuple[str, bool]]:
        return type(self), self._source

    @torch.inference_mode()
    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Classifies a batch; see `Classifier`."""
        if not images:
            return np.empty((0, len(self.labels)), np.float32)
        device = self.network.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = self.network(self._pixel_values(images).to(device)).logits
        return logits.float().softmax(dim=1).cpu().numpy()

    def preprocess(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Resizes and normalises; see `Classifier`."""
        return self._pixel_values(images).numpy()

    def _pixel_values(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        if isinstance(self.processor, TimmWrapperImageProcessor):  # knows no formats of arrays
            return self.processor([Image.fromarray(image) for image in images])["pixel_values"]
        return self.processor(list(images), return_tensors="pt", input_data_format="channels_last")["pixel_values"]


def load_network(model: str, trust_remote_code: bool = True) -> tuple[nn.Module, Any]:
    """Loads a network, in float32 whatever it was saved in, and its image processor.

    Arguments and errors are those of `TorchClassifier`.
    """
    folder = expand_user(model)
    if folder.is_file():
        raise ValueError(f"{model} is a file; name the model's folder, or a file ending in .onnx")
    is_hub_id = not folder.is_dir()
    if is_hub_id and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise FileNotFoundError(f"{model}: no such folder; name a folder that train.py wrote, or a Hub id")
    source = model if is_hub_id else str(folder)
    no_hub = fault_of_hub(model, "config.json", HUB_TIMEOUT_S) if is_hub_id else None
    local = {} if no_hub is None else {"local_files_only": True}
    shows_progress = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # of what takes a moment
    try:
        config = PreTrainedConfig.get_config_dict(source, **local)[0]
        number = config.get("num_labels")
        if isinstance(number, int) and number > MOST_CLASSES:  # the library would make a name for each
            raise ValueError(f"num_labels is {number}")
        if config.get("model_type") == "involvit":
            network_class, processor_class, options = InvolViTForImageClassification, InvolViTImageProcessor, {}
        else:
            network_class, processor_class = AutoModelForImageClassification, AutoImageProcessor
            options = {"trust_remote_code": trust_remote_code}  # never None: the library would ask on the terminal
        network, report = network_class.from_pretrained(
            source,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
            **local,
            **options,
        )
        processor = processor_class.from_pretrained(source, **local, **options)
    except Exception as error:  # files from anywhere: the library raises nearly anything on them
        reason = shorten(str(error).partition("\n\n")[0] or type(error).__name__, 300)
        message = f"{model} cannot be loaded as an image classification model: {reason}"
        if not trust_remote_code and "trust_remote_code" in str(error):
            message = (
                f"{model} brings code of its own, which is not run here; name an InvolViT model or one that needs none"
            )
        elif forbidden := [
            path for path in (folder, *folder.glob("*")) if path.exists() and not os.access(path, os.R_OK)
        ]:
            message = f"{model} cannot be loaded: you may not read {forbidden[0]} (permission denied)"
        elif fault := fault_of_model_folder(folder):
            message = f"{model} {fault}"
        elif not is_hub_id and PROCESSOR in str(error) and not (folder / PROCESSOR).exists():
            message = f"{model} holds no {PROCESSOR}; save its image processor there too (processor.save_pretrained)"
        elif is_hub_id:
            reason = no_hub if isinstance(error.__cause__, LocalEntryNotFoundError) else reason
            message = (
                f"{model!r} is not a folder here, and cannot be loaded from the Hub ({reason}). Without a network name "
                "the folder of a copy or of a model that train.py wrote, or none: one comes with the package"
            )
        raise ValueError(message) from error
    finally:
        if shows_progress:
            logging.enable_progress_bar()
    if mismatched := sorted(report["mismatched_keys"]):
        name, given, expected = mismatched[0]
        sizes = f"{name} has the shape {list(given)}, not {list(expected)}"
        raise ValueError(f"{model} has weights that do not fit its config.json: {sizes}; save the model again")
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"{model} is no trained image classification model: its weights lack {missing[0]}")
    problem = network.config.problem_type
    if problem not in (None, "single_label_classification"):
        raise ValueError(f"{model} was trained for {problem}; name a model that chooses one of several classes")
    labels = network.config.id2label
    if odd := sorted(set(labels) - set(range(len(labels)))):
        raise ValueError(f"{model} has a class number {odd[0]} of {len(labels)}; count them from 0 in its config.json")
    check_labels(list(labels.values()), model)
    return network, processor
