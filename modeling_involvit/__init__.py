"""InvolViT for Hugging Face transformers: facial expressions by involution and a hybrid vision transformer."""

from transformers import AutoBackbone, AutoConfig, AutoImageProcessor, AutoModel, AutoModelForImageClassification

from .checkpoints import CheckpointError, load_rednet_checkpoint, load_vit_checkpoint
from .configuration_involvit import LABELS, InvolViTConfig
from .folding import fold_for_inference
from .image_processing_involvit import InvolViTImageProcessor, InvolViTImageProcessorPil
from .involution import Involution2d, involution
from .modeling_involvit import (
    InvolViTBackbone,
    InvolViTForImageClassification,
    InvolViTModel,
    InvolViTPreTrainedModel,
)
from .rednet import REDNET_DEPTHS, RedNet

__all__ = [
    "LABELS",
    "REDNET_DEPTHS",
    "CheckpointError",
    "InvolViTBackbone",
    "InvolViTConfig",
    "InvolViTForImageClassification",
    "InvolViTImageProcessor",
    "InvolViTImageProcessorPil",
    "InvolViTModel",
    "InvolViTPreTrainedModel",
    "Involution2d",
    "RedNet",
    "fold_for_inference",
    "involution",
    "load_rednet_checkpoint",
    "load_vit_checkpoint",
]

# With these, Auto classes load the models of this type by the code installed here, and need not trust another.
AutoConfig.register("involvit", InvolViTConfig, exist_ok=True)
AutoModel.register(InvolViTConfig, InvolViTModel, exist_ok=True)
AutoModelForImageClassification.register(InvolViTConfig, InvolViTForImageClassification, exist_ok=True)
AutoBackbone.register(InvolViTConfig, InvolViTBackbone, exist_ok=True)
AutoImageProcessor.register(
    InvolViTConfig,
    image_processor_classes={"torchvision": InvolViTImageProcessor, "pil": InvolViTImageProcessorPil},
    exist_ok=True,
)
