"""The configuration of InvolViT: each architectural default stands here and nowhere else."""

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.backbone_utils import BackboneConfigMixin

LABELS = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")

_COUNTS = (
    *("image_size", "num_channels", "fusion_grid", "fusion_channels"),
    *("rednet_depths", "rednet_widths", "rednet_stem_channels", "rednet_kernel_size", "rednet_group_channels"),
    *("vit_backbone_layers", "vit_backbone_channels", "vit_stem_channels"),
    *("vit_hidden_size", "vit_num_layers", "vit_num_heads"),
)
_STATISTICS = ("image_mean", "image_std", "vit_image_mean", "vit_image_std")


@strict
class InvolViTConfig(BackboneConfigMixin, PreTrainedConfig):
    r"""Configuration of an InvolViT model.

    The defaults are the paper's model (Z. Liu, "Using Transformer and Involution for facial expression recognition"):
    RedNet-50 and R50 + ViT-B/16 side by side at 352 px.

    Args:
        image_size: Height and width of `pixel_values` in pixels.
        num_channels: Channels of `pixel_values`.
        branches: Both branches fused, or one of them alone with its map going straight to the pooling.
        rednet_depths: Bottlenecks of each RedNet stage.
        rednet_widths: Output channels of each RedNet stage, multiples of `4 * rednet_group_channels`.
        rednet_stem_channels: Output channels of the RedNet stem, a multiple of `2 * rednet_group_channels`.
        rednet_kernel_size: Kernel size of the involutions in the bottlenecks, odd.
        rednet_group_channels: Channels that share one involution kernel.
        vit_backbone_layers: Blocks of each ResNetV2 stage below the transformer.
        vit_backbone_channels: Output channels of each ResNetV2 stage, multiples of 128.
        vit_stem_channels: Output channels of the ResNetV2 stem, a multiple of 32.
        vit_hidden_size: Width of the transformer.
        vit_num_layers: Transformer layers.
        vit_num_heads: Attention heads of each layer; divides `vit_hidden_size`.
        vit_class_token: Whether a class token takes part in attention (the paper's equation 4 has none).
        vit_dropout: Dropout rate inside the transformer.
        vit_drop_path: Stochastic depth rate of the last transformer layer, growing linearly from 0.
        vit_image_mean, vit_image_std: Mean and deviation that the transformer branch's weights expect; `pixel_values`
            are re-scaled for it.
        image_mean, image_std: Mean and deviation with which the processor normalised `pixel_values`; RedNet's weights
            expect ImageNet's.
        standardize_luminance: Whether both branches see only the brightness of each pixel, with mean 0 and deviation 1
            over the image. Colour, exposure and contrast then do not change the answer. Not for weights that were
            trained on colours.
        fusion_grid: Height and width of the grid both maps are brought to; by default the transformer's.
        fusion_channels: Output channels of the 1x1 fusion convolution.
        classifier_dropout: Dropout rate before the classification layer.
        out_features, out_indices: Names or numbers of the RedNet maps that `InvolViTBackbone` returns, of
            `["stem", "stage1", ...]`; by default the last.

    Raises:
        huggingface_hub.errors.StrictDataclassError: If a value is of the wrong type or out of its range.
    """

    model_type = "involvit"
    attribute_map = {  # noqa: RUF012
        "hidden_size": "vit_hidden_size",
        "num_hidden_layers": "vit_num_layers",
        "num_attention_heads": "vit_num_heads",
        "depths": "rednet_depths",
        "hidden_sizes": "rednet_widths",
        "embedding_size": "rednet_stem_channels",
    }

    image_size: int = 352
    num_channels: int = 3
    branches: Literal["fusion", "rednet", "vit"] = "fusion"
    rednet_depths: list[int] | tuple[int, ...] = (3, 4, 6, 3)
    rednet_widths: list[int] | tuple[int, ...] = (256, 512, 1024, 2048)
    rednet_stem_channels: int = 64
    rednet_kernel_size: int = 7
    rednet_group_channels: int = 16
    vit_backbone_layers: list[int] | tuple[int, ...] = (3, 4, 9)
    vit_backbone_channels: list[int] | tuple[int, ...] = (256, 512, 1024)
    vit_stem_channels: int = 64
    vit_hidden_size: int = 768
    vit_num_layers: int = 12
    vit_num_heads: int = 12
    vit_class_token: bool = False
    vit_dropout: float | int = 0.0
    vit_drop_path: float | int = 0.0
    vit_image_mean: list[float] | tuple[float, ...] = (0.5, 0.5, 0.5)
    vit_image_std: list[float] | tuple[float, ...] = (0.5, 0.5, 0.5)
    image_mean: list[float] | tuple[float, ...] = (0.485, 0.456, 0.406)
    image_std: list[float] | tuple[float, ...] = (0.229, 0.224, 0.225)
    standardize_luminance: bool = False
    fusion_grid: int | None = None
    fusion_channels: int = 1024
    classifier_dropout: float | int = 0.1

    def __post_init__(self, **kwargs: object) -> None:
        if self.id2label is None and self.label2id is not None:
            self.id2label = {index: label for label, index in self.label2id.items()}
        elif self.id2label is None and kwargs.get("num_labels") is None:
            self.id2label = dict(enumerate(LABELS))
        self.stage_names = ["stem", *(f"stage{number}" for number in range(1, len(self.rednet_depths) + 1))]
        self.set_output_features_output_indices(
            out_features=kwargs.pop("out_features", None), out_indices=kwargs.pop("out_indices", None)
        )
        super().__post_init__(**kwargs)
        self.label2id = {label: index for index, label in self.id2label.items()}
        # Saving writes the classes that are saved into auto_map; AutoModel needs its entry too.
        self.auto_map = {
            "AutoConfig": "configuration_involvit.InvolViTConfig",
            "AutoModel": "modeling_involvit.InvolViTModel",
            "AutoModelForImageClassification": "modeling_involvit.InvolViTForImageClassification",
            "AutoBackbone": "modeling_involvit.InvolViTBackbone",
        }

    def validate_ranges(self) -> None:
        """Checks what the types cannot say; run by the base class after construction."""

        def require(name: str, is_met: bool, rule: str) -> None:
            if not is_met and getattr(self, name) is not None:
                raise ValueError(f"{name} {rule}, got {getattr(self, name)}")

        def values(name: str) -> list[float]:
            value = getattr(self, name)
            return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]

        for name in ("classifier_dropout", "vit_dropout", "vit_drop_path"):
            require(name, 0 <= getattr(self, name) < 1, "must be at least 0 and below 1")
        for name in _COUNTS:
            require(name, min(values(name), default=0) >= 1, "must be at least 1")
        for name, length_of, length in (
            ("rednet_widths", "rednet_depths", len(self.rednet_depths)),
            ("vit_backbone_channels", "vit_backbone_layers", len(self.vit_backbone_layers)),
            *((name, "num_channels", self.num_channels) for name in _STATISTICS),
        ):
            require(name, len(values(name)) == length, f"must have {length} values for this {length_of}")
        for name in ("image_std", "vit_image_std"):
            require(name, min(values(name)) > 0, "must be above 0")
        for name, reason, divisor in (
            ("rednet_widths", "4 * rednet_group_channels", 4 * self.rednet_group_channels),
            ("rednet_stem_channels", "2 * rednet_group_channels", 2 * self.rednet_group_channels),
            ("vit_backbone_channels", "4 * 32 normalisation groups", 128),
            ("vit_stem_channels", "32 normalisation groups", 32),
            ("vit_hidden_size", "vit_num_heads", self.vit_num_heads),
        ):
            is_multiple = all(value % divisor == 0 for value in values(name))
            require(name, is_multiple, f"must be a multiple of {divisor} ({reason})")
        require("rednet_kernel_size", self.rednet_kernel_size % 2 == 1, "must be odd")
        if self.standardize_luminance and self.num_channels != 3:
            raise ValueError(f"standardize_luminance needs num_channels=3 (red, green, blue), got {self.num_channels}")


InvolViTConfig.register_for_auto_class()
