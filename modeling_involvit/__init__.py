"""InvolViT for Hugging Face transformers: facial expressions by involution and a hybrid vision transformer."""

from .checkpoints import CheckpointError, load_rednet_checkpoint, load_vit_checkpoint
from .configuration_involvit import LABELS, InvolViTConfig
from .image_processing_involvit import InvolViTImageProcessor
from .involution import Involution2d, involution
from .modeling_involvit import InvolViTForImageClassification, InvolViTModel, InvolViTPreTrainedModel
from .rednet import REDNET_DEPTHS, RedNet, fold_batch_norms

__all__ = [
    "LABELS",
    "REDNET_DEPTHS",
    "CheckpointError",
    "InvolViTConfig",
    "InvolViTForImageClassification",
    "InvolViTImageProcessor",
    "InvolViTModel",
    "InvolViTPreTrainedModel",
    "Involution2d",
    "RedNet",
    "fold_batch_norms",
    "involution",
    "load_rednet_checkpoint",
    "load_vit_checkpoint",
]
