"""InvolViT: an involution network and a hybrid vision transformer side by side, fused by a 1x1 convolution.

Z. Liu, "Using Transformer and Involution for facial expression recognition".

- both branches see the same image; the transformer's copy is re-scaled to the statistics of its weights, or both see
  its standardised luminance
- both maps are brought to one grid and concatenated: 1x1 convolution, BatchNorm, ReLU
- global average pooling, dropout, linear
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling, ImageClassifierOutput
from transformers.utils import can_return_tuple

from .configuration_involvit import InvolViTConfig
from .hybrid_vit import HybridViT
from .rednet import RedNet


class InvolViTFusion(nn.Module):
    """Brings two maps to one grid and mixes their concatenated channels by a 1x1 convolution, BatchNorm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, grid_size: tuple[int, int]) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, rednet_map: Tensor, vit_map: Tensor) -> Tensor:
        """[B, C1, h1, w1] and [B, C2, h2, w2] -> [B, out_channels, *grid_size]."""
        maps = [
            x if x.shape[2:] == self.grid_size else F.interpolate(x, self.grid_size, mode="bilinear")
            for x in (rednet_map, vit_map)
        ]
        return F.relu(self.bn(self.conv(torch.cat(maps, dim=1))))


class InvolViTPreTrainedModel(PreTrainedModel):
    """Initialisation of weights and the library's entry points for loading and saving."""

    config_class = InvolViTConfig
    base_model_prefix = "involvit"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["Bottleneck", "Block"]  # noqa: RUF012

    def save_pretrained(self, *args: object, **kwargs: object) -> None:
        """Saves as the base class does, but for a model that could not be loaded again.

        Raises:
            ValueError: If its BatchNorms are folded.
        """
        if any(getattr(module, "is_folded", False) for module in self.modules()):
            raise ValueError("the model's BatchNorms are folded; save it before fold_batch_norms")
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
            self.rednet = RedNet(
                depths=config.rednet_depths,
                widths=config.rednet_widths,
                stem_channels=config.rednet_stem_channels,
                kernel_size=config.rednet_kernel_size,
                group_channels=config.rednet_group_channels,
                in_channels=config.num_channels,
            )
            self.out_channels = self.rednet.out_channels
        if config.branches in ("fusion", "vit"):
            self.vit = HybridViT(
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
            self.out_channels = self.vit.out_channels
            for block in self.vit.blocks:
                block.attn.fused_attn = config._attn_implementation == "sdpa"
        if config.branches == "fusion":
            grid_size = self.vit.grid_size if config.fusion_grid is None else (config.fusion_grid, config.fusion_grid)
            in_channels = self.rednet.out_channels + self.vit.out_channels
            self.fusion = InvolViTFusion(in_channels, config.fusion_channels, grid_size)
            self.out_channels = config.fusion_channels
        self.post_init()

    def _rescale_for_vit(self, pixel_values: Tensor) -> Tensor:
        """Undoes the processor's normalisation and applies that of the transformer's weights."""
        config = self.config
        statistics = zip(config.image_mean, config.image_std, config.vit_image_mean, config.vit_image_std, strict=True)
        channels = [
            channel * (std / vit_std) + (mean - vit_mean) / vit_std
            for channel, (mean, std, vit_mean, vit_std) in zip(pixel_values.unbind(1), statistics, strict=True)
        ]
        return torch.stack(channels, dim=1)

    def _standardized_luminance(self, pixel_values: Tensor) -> Tensor:
        """Undoes the processor's normalisation and leaves ITU-R BT.601's luma, standardised over each image."""
        config = self.config
        pixel_values = pixel_values.to(torch.promote_types(pixel_values.dtype, torch.float32))
        channels = zip((0.299, 0.587, 0.114), pixel_values.unbind(1), config.image_mean, config.image_std, strict=True)
        luminance = sum(weight * (channel * std + mean) for weight, channel, mean, std in channels)
        variance, mean = torch.var_mean(luminance, dim=(1, 2), correction=0, keepdim=True)
        standardized = (luminance - mean) * torch.rsqrt(variance + 1e-6)  # a quarter of a grey level: flat stays flat
        return standardized.unsqueeze(1).expand_as(pixel_values)

    @can_return_tuple
    def forward(
        self, pixel_values: Tensor, output_hidden_states: bool | None = None, **kwargs: object
    ) -> BaseModelOutputWithPooling:
        """Runs the branches and fuses their maps.

        Args:
            pixel_values: Images of shape [B, num_channels, image_size, image_size], normalised by `image_mean` and
                `image_std`.
            output_hidden_states: Whether to return the maps in `hidden_states`.
            **kwargs: `return_dict=False` for a tuple in place of an output class.

        Returns:
            `last_hidden_state` is the fused map [B, C, h, w] (or the branch's own), `pooler_output` its average [B, C],
            `hidden_states` on demand (RedNet map, transformer map, fused map), or the one map of a single branch.

        Raises:
            ValueError: If `pixel_values` do not have the configured channels and size.
        """
        config, dtype = self.config, self.dtype
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        expected = [config.num_channels, config.image_size, config.image_size]
        if pixel_values.ndim != 4 or list(pixel_values.shape[1:]) != expected:
            shape = f"[B, {', '.join(map(str, expected))}]"
            raise ValueError(f"pixel_values must be {shape}, got {list(pixel_values.shape)}")

        if config.standardize_luminance:
            pixel_values = vit_pixel_values = self._standardized_luminance(pixel_values)
        elif self.vit is not None:
            vit_pixel_values = self._rescale_for_vit(pixel_values)
        maps = []
        if self.rednet is not None:
            maps.append(self.rednet(pixel_values.to(dtype)))
        if self.vit is not None:
            maps.append(self.vit(vit_pixel_values.to(dtype)))
        if self.fusion is not None:
            maps.append(self.fusion(*maps))
        return BaseModelOutputWithPooling(
            last_hidden_state=maps[-1],
            pooler_output=maps[-1].mean(dim=(2, 3)),
            hidden_states=tuple(maps) if output_hidden_states else None,
        )


def classification_loss(
    logits: Tensor, labels: Tensor, problem_type: str | None = None, num_items_in_batch: Tensor | float | None = None
) -> Tensor:
    """Returns the loss of transformers' own classifiers, a mean in float32, and takes soft targets as well.

    Args:
        logits: Scores of shape [B, C].
        labels: By `problem_type`, for `"single_label_classification"` class ids [B], where -100 does not count, or
            their probabilities [B, C], where a row of zeros does not (cross-entropy); for
            `"multi_label_classification"` 0 to 1 for each class [B, C] (binary cross-entropy); for `"regression"`
            targets [B] or [B, C] (squared error).
        problem_type: By default regression for C = 1, else single-label for whole numbers and multi-label for others.
        num_items_in_batch: What the summed loss is divided by: the number of entries in the labels of all
            micro-batches of a step, -100 left out. By default those of this batch.
    """
    num_labels, logits = logits.shape[1], logits.float()
    if problem_type is None and num_labels == 1:
        problem_type = "regression"
    if problem_type is None:
        problem_type = "multi" if labels.is_floating_point() else "single"
    if not problem_type.startswith("single"):
        labels = labels.to(logits.dtype).view_as(logits)
        compute = F.mse_loss if problem_type == "regression" else F.binary_cross_entropy_with_logits
        num_entries = labels.numel() if num_items_in_batch is None else num_items_in_batch
        return compute(logits, labels, reduction="sum") / num_entries
    if labels.ndim == 2 and labels.shape[1] == num_labels:
        labels = labels.to(logits.dtype)
        # An image of soft targets has as many entries as there are classes.
        num_images = labels.sum() if num_items_in_batch is None else num_items_in_batch / num_labels
    else:
        labels = labels.flatten()
        num_images = (labels != -100).sum() if num_items_in_batch is None else num_items_in_batch
    return F.cross_entropy(logits, labels, reduction="sum") / num_images


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
        pixel_values: Tensor,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | float | None = None,
        **kwargs: object,
    ) -> ImageClassifierOutput:
        """Scores the classes.

        Args:
            pixel_values: See `InvolViTModel.forward`, which also takes `kwargs`.
            labels: See `classification_loss`; the loss is computed where they are given.
            num_items_in_batch: See `classification_loss`; `Trainer` gives it.
            **kwargs: `output_hidden_states`, `return_dict`.

        Returns:
            `loss` where there are labels, `logits` [B, num_labels], `hidden_states` on demand.
        """
        outputs = self.involvit(pixel_values, **kwargs, return_dict=True)
        logits = self.classifier(self.dropout(outputs.pooler_output))
        loss = None
        if labels is not None:
            loss = classification_loss(logits, labels, self.config.problem_type, num_items_in_batch)
        return ImageClassifierOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)


InvolViTModel.register_for_auto_class("AutoModel")
InvolViTForImageClassification.register_for_auto_class("AutoModelForImageClassification")
