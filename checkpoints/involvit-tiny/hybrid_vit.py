"""The transformer branch: a ViT on the map of a ResNetV2 (Dosovitskiy et al., arXiv 2010.11929), by timm.

- the default arguments are `vit_base_r50_s16_384` at 352 px: R50 with stages (3, 4, 9), ViT-B/16, 22 x 22 tokens
- tensor names are timm's, so that its checkpoints load by name
- tokens are folded back to a map; a class token, off by default, takes part in attention and is dropped after it
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from timm.layers import HybridEmbed, StdConv2dSame
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor


class HybridViT(VisionTransformer):
    """ResNetV2 stem and stages, 1x1 patch embedding, transformer encoder (equations 4 to 6 of the paper). Expects NCHW.

    The arguments are those of `InvolViTConfig` that begin with `vit_`, by timm's names.
    """

    def __init__(
        self,
        image_size: int = 352,
        backbone_layers: Sequence[int] = (3, 4, 9),
        backbone_channels: Sequence[int] = (256, 512, 1024),
        stem_channels: int = 64,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        class_token: bool = False,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        in_channels: int = 3,
    ) -> None:
        backbone = ResNetV2(
            layers=backbone_layers,
            channels=backbone_channels,
            num_classes=0,
            in_chans=in_channels,
            global_pool="",
            stem_chs=stem_channels,
            stem_type="same",
            preact=False,
            conv_layer=partial(StdConv2dSame, eps=1e-8),
        )
        super().__init__(
            img_size=image_size,
            patch_size=1,
            in_chans=in_channels,
            num_classes=0,
            global_pool="",
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            class_token=class_token,
            pos_drop_rate=dropout,
            proj_drop_rate=dropout,
            drop_path_rate=drop_path,
            embed_layer=partial(HybridEmbed, backbone=backbone),
        )
        self.out_channels = embed_dim

    @property
    def grid_size(self) -> tuple[int, int]:
        """Height and width of the token map."""
        return self.patch_embed.grid_size

    # what transformers sets to have the backward pass compute activations again instead of keeping them
    gradient_checkpointing = property(lambda self: self.grad_checkpointing, VisionTransformer.set_grad_checkpointing)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, image_size, image_size] -> [B, embed_dim, *grid_size], after the final LayerNorm."""
        tokens = self.forward_features(x)[:, self.num_prefix_tokens :]
        return tokens.transpose(1, 2).unflatten(2, self.grid_size)
