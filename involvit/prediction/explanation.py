"""Where each branch of an InvolViT model looked, by Grad-CAM."""

from __future__ import annotations

import copy
import itertools

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam

from .classifier import Classifier

MAPS = {"rednet": "rednet", "vit": "vit", "fused": "fusion"}  # their names, and the submodules that compute them
COLOR_MAP = "plasma"  # perceptually uniform, and brighter where hotter
MAX_OPACITY = 0.7  # where a map is hottest, the face still shines through


def explain(classifier: Classifier, face: np.ndarray, label: str) -> dict[str, np.ndarray]:
    """Shows where an InvolViT model sees a class, by Grad-CAM (Selvaraju et al., ICCV 2017).

    With the values A [C, h, w] of a map and the logit y of the class, the heat is
    `relu(sum over c of mean over i, j of (dy / dA[c, i, j]) * A[c])`.

    Threads may explain and classify with one model at the same time: captum hooks into modules, so each call makes
    modules of its own, which share the weights.

    Args:
        classifier: A `TorchClassifier` of an InvolViT model.
        face: RGB, uint8 [H, W, 3].
        label: One of the classifier's labels.

    Returns:
        Heat, float32 [H, W] from 0 to 1, by name: `rednet` for the involution branch, `vit` for the folded tokens of
        the transformer, `fused` for both together; of a model with one branch only that one. Each map is divided by its
        largest value; it is all zeros where nothing speaks for the class.

    Raises:
        ValueError: If the classifier is not an InvolViT model run by torch, or has no such label.
    """
    network = getattr(classifier, "network", None)
    if network is None or network.config.model_type != "involvit":
        raise ValueError(f"{classifier.name} cannot be explained; choose an InvolViT model that is not in ONNX")
    if label not in classifier.labels:
        raise ValueError(f"{label!r} is not a class of {classifier.name}; choose one of {', '.join(classifier.labels)}")
    tensors = itertools.chain(network.parameters(), network.buffers())
    network = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    inputs = classifier.processor([face], return_tensors="pt", input_data_format="channels_last")
    pixel_values = inputs["pixel_values"].to(network.device, network.dtype)
    target = classifier.labels.index(label)
    heats = {}
    for name, module_name in MAPS.items():
        if (layer := getattr(network.involvit, module_name)) is None:
            continue
        grad_cam = LayerGradCam(lambda x: network(x).logits, layer)
        heat = grad_cam.attribute(pixel_values, target, relu_attributions=True).detach().float()
        heat = F.interpolate(heat, size=face.shape[:2], mode="bilinear", align_corners=False)[0, 0]
        heats[name] = (heat / heat.max().clamp(min=torch.finfo(heat.dtype).tiny)).cpu().numpy()
    return heats


def overlay(face: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lays a heat map over a face: the hotter, the more opaque. Where there is no heat, the face stays as it is.

    Args:
        face: RGB, uint8 [H, W, 3].
        heat: Float [H, W], 0 to 1.

    Raises:
        ValueError: If face and heat differ in height or width.
    """
    if face.shape[:2] != heat.shape:
        raise ValueError(f"a face of {list(face.shape)} needs heat of {list(face.shape[:2])}, got {list(heat.shape)}")
    colors = matplotlib.colormaps[COLOR_MAP](heat, bytes=True)[..., :3]
    opacity = MAX_OPACITY * heat[..., None]
    return np.rint(face + opacity * (colors.astype(np.float32) - face)).astype(np.uint8)
