"""InvolViT: an involution network and a hybrid vision transformer side by side, fused by a 1x1 convolution.

Z. Liu, "Using Transformer and Involution for facial expression recognition".

- both branches see the same image; the transformer's copy is re-scaled to the statistics of its weights, or both see
  its standardised luminance
- both maps are brought to one grid and concatenated: 1x1 convolution, BatchNorm, ReLU
- global average pooling, dropout, linear
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.backbone_utils import BackboneMixin
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import ConversionOps, WeightConverter
from transformers.modeling_outputs import BackboneOutput, BaseModelOutputWithPooling, ImageClassifierOutput
from transformers.utils import can_return_tuple

from .classification_loss import classification_loss, infer_problem_type
from .configuration_involvit import InvolViTConfig
from .hybrid_vit import HybridViT
from .rednet import RedNet


class InvolViTFusion(nn.Module):
    """Brings two maps to one grid and mixes their concatenated channels by a 1x1 convolution, BatchNorm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, grid: int | None) -> None:
        super().__init__()
        self.grid = grid
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, rednet_map: Tensor, vit_map: Tensor) -> Tensor:
        """[B, C1, h1, w1] and [B, C2, h2, w2] -> [B, out_channels, grid, grid], h2 and w2 where `grid` is None."""
        grid_size = vit_map.shape[2:] if self.grid is None else (self.grid, self.grid)
        maps = [
            x if x.shape[2:] == grid_size else F.interpolate(x, grid_size, mode="bilinear")
            for x in (rednet_map, vit_map)
        ]
        return F.relu(self.bn(self.conv(torch.cat(maps, dim=1))))


class ResamplePositions(ConversionOps):
    """Brings a checkpoint's position embeddings to the grid of the model that loads them (bicubic, antialiased)."""

    @property
    def reverse_op(self) -> ConversionOps:
        """What is done when the model is saved: nothing, since its embeddings have its grid."""
        return self

    @torch.no_grad()
    def convert(
        self,
        input_dict: dict[str, Tensor | list[Tensor]],
        source_patterns: list[str],
        target_patterns: list[str],
        model: PreTrainedModel,
        **kwargs: object,
    ) -> dict[str, Tensor]:
        """Converts the one tensor of `input_dict`, [1, tokens, C]; called by transformers."""
        (embeddings,) = input_dict.values()
        embeddings = embeddings[0] if isinstance(embeddings, list) else embeddings
        vit = getattr(model.base_model, "vit", None)
        if vit is not None and embeddings.ndim == 3:
            prefix = vit.num_prefix_tokens
            if math.isqrt(embeddings.shape[1] - prefix) ** 2 == embeddings.shape[1] - prefix:
                embeddings = resample_abs_pos_embed(embeddings, vit.grid_size, num_prefix_tokens=prefix)
        return {target_patterns[0]: embeddings}


def _build_rednet(config: InvolViTConfig) -> RedNet:
    return RedNet(
        depths=config.rednet_depths,
        widths=config.rednet_widths,
        stem_channels=config.rednet_stem_channels,
        kernel_size=config.rednet_kernel_size,
        group_channels=config.rednet_group_channels,
        in_channels=config.num_channels,
    )


def _build_vit(config: InvolViTConfig) -> HybridViT:
    vit = HybridViT(
        image_size=config.image_size,
        backbone_layers=config.vit_backbone_layers,
        backbone_channels=config.vit_backbone_channels,
        stem_channels=config.vit_stem_channels,
        embed_dim=config.vit_hidden_size,
        depth=config.vit_num_layers,
        num_heads=config.vit_num_heads,
        class_token=config.vit_class_token,
        dropout=config.vit_dropout,
        drop_path=config.vit_drop_path,
        in_channels=config.num_channels,
    )
    for layer in vit.blocks:
        layer.attn.config = config  # read at each call: the implementation may change
    return vit


def _rescaled_for_vit(pixel_values: Tensor, config: InvolViTConfig) -> Tensor:
    """Undoes the processor's normalisation and applies that of the transformer's weights."""
    statistics = zip(config.image_mean, config.image_std, config.vit_image_mean, config.vit_image_std, strict=True)
    channels = [
        channel * (std / vit_std) + (mean - vit_mean) / vit_std
        for channel, (mean, std, vit_mean, vit_std) in zip(pixel_values.unbind(1), statistics, strict=True)
    ]
    return torch.stack(channels, dim=1)


def _standardized_luminance(pixel_values: Tensor, config: InvolViTConfig) -> Tensor:
    """Undoes the processor's normalisation and leaves ITU-R BT.601's luma, standardised over each image."""
    pixel_values = pixel_values.to(torch.promote_types(pixel_values.dtype, torch.float32))
    channels = zip((0.299, 0.587, 0.114), pixel_values.unbind(1), config.image_mean, config.image_std, strict=True)
    luminance = sum(weight * (channel * std + mean) for weight, channel, mean, std in channels)
    variance, mean = torch.var_mean(luminance, dim=(1, 2), correction=0, keepdim=True)
    standardized = (luminance - mean) * torch.rsqrt(variance + 1e-6)  # a quarter of a grey level: flat stays flat
    return standardized.unsqueeze(1).expand_as(pixel_values)


def _check_pixel_values(pixel_values: Tensor | None, config: InvolViTConfig, takes_any_size: bool) -> None:
    """Raises ValueError, which states both shapes, if these are not the images that the model takes."""
    if pixel_values is None:
        raise ValueError("pixel_values are missing; give images as the image processor returns them")
    size = ["H", "W"] if takes_any_size else [config.image_size, config.image_size]
    checked = pixel_values.shape[1:2] if takes_any_size else pixel_values.shape[1:]
    if pixel_values.ndim != 4 or list(checked) != [config.num_channels, *size][: len(checked)]:
        shape = f"[B, {config.num_channels}, {size[0]}, {size[1]}]"
        advice = "" if takes_any_size else "; interpolate_pos_encoding=True takes other sizes"
        raise ValueError(f"pixel_values must be {shape}, got {list(pixel_values.shape)}{advice}")


class InvolViTPreTrainedModel(PreTrainedModel):
    """Initialisation of weights and the library's entry points for loading and saving."""

    config_class = InvolViTConfig
    base_model_prefix = "involvit"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _no_split_modules = ["Bottleneck", "TransformerLayer"]  # noqa: RUF012

    def save_pretrained(self, *args: object, **kwargs: object) -> None:
        """Saves as the base class does, but for a model that could not be loaded again.

        Raises:
            ValueError: If it is folded for inference.
        """
        if any(getattr(module, "is_folded", False) for module in self.modules()):
            raise ValueError("the model is folded for inference; save it before fold_for_inference")
        super().save_pretrained(*args, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            if isinstance(module, nn.Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            else:
                init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, HybridViT):
            init.trunc_normal_(module.pos_embed, std=0.02)
            if module.cls_token is not None:
                init.normal_(module.cls_token, std=1e-6)
        else:
            super()._init_weights(module)
            # Marked on the norm itself: the library skips a module without parameters of its own, such as its block.
            if getattr(module, "starts_at_zero", False):
                init.zeros_(module.weight)


class InvolViTModel(InvolViTPreTrainedModel):
    """The branches and their fusion, without a classification head."""

    def __init__(self, config: InvolViTConfig) -> None:
        super().__init__(config)
        self.rednet = self.vit = self.fusion = None
        if config.branches in ("fusion", "rednet"):
            self.rednet = _build_rednet(config)
            self.out_channels = self.rednet.out_channels
        if config.branches in ("fusion", "vit"):
            self.vit = _build_vit(config)
            self.out_channels = self.vit.out_channels
        if config.branches == "fusion":
            in_channels = self.rednet.out_channels + self.vit.out_channels
            self.fusion = InvolViTFusion(in_channels, config.fusion_channels, config.fusion_grid)
            self.out_channels = config.fusion_channels
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the transformer's patch embedding, or RedNet's stem where there is no transformer."""
        return self.rednet.stem if self.vit is None else self.vit.patch_embed

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces what `get_input_embeddings` returns."""
        if self.vit is None:
            self.rednet.stem = value
        else:
            self.vit.patch_embed = value

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = False,
    ) -> BaseModelOutputWithPooling:
        """Runs the branches and fuses their maps; `return_dict=False` gives a tuple.

        Args:
            pixel_values: Images of shape [B, num_channels, image_size, image_size], normalised by `image_mean` and
                `image_std`.
            output_attentions: Whether to return `attentions`, for which attention is computed eagerly.
            output_hidden_states: Whether to return `hidden_states`.
            interpolate_pos_encoding: Whether to take images of any size, with position embeddings resampled for it.

        Returns:
            `last_hidden_state` is the fused map [B, C, h, w] (or the branch's own), `pooler_output` its average [B, C].
            `attentions` are the weights [B, num_heads, N, N] of each transformer layer. `hidden_states` are, of the
            branches that there are, RedNet's maps after its stem and each stage; the transformer's tokens [B, N, C]
            before its first layer and after each; and last the maps themselves: RedNet's, the transformer's (after its
            final LayerNorm), the fused one.

        Raises:
            ValueError: If `pixel_values` do not have the configured channels and size, or there is no attention.
        """
        config, dtype = self.config, self.dtype
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        _check_pixel_values(pixel_values, config, interpolate_pos_encoding)
        if output_attentions and self.vit is None:
            raise ValueError("output_attentions needs a transformer, which a model with branches='rednet' has not")

        if config.standardize_luminance:
            pixel_values = vit_pixel_values = _standardized_luminance(pixel_values, config)
        elif self.vit is not None:
            vit_pixel_values = _rescaled_for_vit(pixel_values, config)
        hidden_states: list[Tensor] | None = [] if output_hidden_states else None
        attentions: list[Tensor] | None = [] if output_attentions else None
        maps = []
        if self.rednet is not None:
            maps.append(self.rednet(pixel_values.to(dtype), hidden_states))
        if self.vit is not None:
            maps.append(self.vit(vit_pixel_values.to(dtype), hidden_states, attentions))
        if self.fusion is not None:
            maps.append(self.fusion(*maps))
        return BaseModelOutputWithPooling(
            last_hidden_state=maps[-1],
            pooler_output=maps[-1].mean(dim=(2, 3)),
            hidden_states=(*hidden_states, *maps) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


class InvolViTBackbone(BackboneMixin, InvolViTPreTrainedModel):
    """RedNet's maps of the stages that `config.out_features` names, for heads of detection and segmentation.

    Loads from the weights of a whole model as well.
    """

    has_attentions = False
    _keys_to_ignore_on_load_unexpected = [r"(^|\.)(vit|fusion|classifier)\."]  # noqa: RUF012

    def __init__(self, config: InvolViTConfig) -> None:
        if config.branches == "vit":
            raise ValueError("the backbone is RedNet, which a model with branches='vit' does not have")
        super().__init__(config)
        self.num_features = [config.rednet_stem_channels, *config.rednet_widths]
        self.rednet = _build_rednet(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the stem."""
        return self.rednet.stem

    @can_return_tuple
    def forward(self, pixel_values: Tensor | None = None, output_hidden_states: bool | None = None) -> BackboneOutput:
        """Computes the maps; `return_dict=False` gives a tuple.

        Args:
            pixel_values: Images of shape [B, num_channels, H, W] of any size, normalised by `image_mean` and
                `image_std`.
            output_hidden_states: Whether to return `hidden_states`.

        Returns:
            `feature_maps`, one for each of `config.out_features`, and on demand `hidden_states`, the maps of the stem
            and each stage.

        Raises:
            ValueError: If `pixel_values` do not have the configured channels.
        """
        config = self.config
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        _check_pixel_values(pixel_values, config, takes_any_size=True)
        if config.standardize_luminance:
            pixel_values = _standardized_luminance(pixel_values, config)
        hidden_states: list[Tensor] = []
        self.rednet(pixel_values.to(self.dtype), hidden_states)
        maps = dict(zip(self.stage_names, hidden_states, strict=True))
        return BackboneOutput(
            feature_maps=tuple(maps[name] for name in self.out_features),
            hidden_states=tuple(hidden_states) if output_hidden_states else None,
        )


class InvolViTForImageClassification(InvolViTPreTrainedModel):
    """InvolViT with dropout and a linear layer on the averaged map."""

    # The loss below divides by what the trainer counts over all micro-batches of a step, where it does.
    accepts_loss_kwargs = True

    def __init__(self, config: InvolViTConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.involvit = InvolViTModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(self.involvit.out_channels, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | float | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = False,
    ) -> ImageClassifierOutput:
        """Scores the classes; `return_dict=False` gives a tuple.

        Args:
            pixel_values: See `InvolViTModel.forward`.
            labels: See `classification_loss`; the loss is computed where they are given, for `config.problem_type`,
                which is inferred from the first labels where it is None.
            num_items_in_batch: See `classification_loss`; `Trainer` gives it.
            output_attentions: See `InvolViTModel.forward`.
            output_hidden_states: See `InvolViTModel.forward`.
            interpolate_pos_encoding: See `InvolViTModel.forward`.

        Returns:
            `loss` where there are labels, `logits` [B, num_labels], `hidden_states` and `attentions` on demand.
        """
        outputs = self.involvit(
            pixel_values,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            interpolate_pos_encoding=interpolate_pos_encoding,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(outputs.pooler_output))
        loss = None
        if labels is not None:
            if self.config.problem_type is None:  # what is saved then says what its scores mean
                self.config.problem_type = infer_problem_type(labels, self.num_labels)
            loss = classification_loss(logits, labels, self.config.problem_type, num_items_in_batch)
        return ImageClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


register_checkpoint_conversion_mapping(
    "involvit", [WeightConverter("vit.pos_embed", "vit.pos_embed", [ResamplePositions()])], overwrite=True
)
InvolViTModel.register_for_auto_class("AutoModel")
InvolViTBackbone.register_for_auto_class("AutoBackbone")
InvolViTForImageClassification.register_for_auto_class("AutoModelForImageClassification")
