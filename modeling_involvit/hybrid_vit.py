"""The transformer branch: a ViT on the map of a ResNetV2 (Dosovitskiy et al., arXiv 2010.11929), by timm.

- the default arguments are `vit_base_r50_s16_384` at 352 px: R50 with stages (3, 4, 9), ViT-B/16, 22 x 22 tokens
- tensor names are timm's, so that its checkpoints load by name
- tokens are folded back to a map; a class token, off by default, takes part in attention and is dropped after it
- attention is computed by what transformers offers under the name that the model's configuration holds
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from timm.layers import Attention, HybridEmbed, StdConv2dSame
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


def attend_eagerly(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    scaling: float,
    **kwargs: object,
) -> tuple[Tensor, Tensor]:
    """Attention step by step, in the form of transformers' attention functions.

    Args:
        module: What calls.
        query: [B, heads, N, D], as are `key` and `value`.
        key: See `query`.
        value: See `query`.
        attention_mask: None; every token sees every other.
        scaling: What the products of queries and keys are multiplied by.
        **kwargs: Options of other functions.

    Returns:
        The attended values [B, N, heads, D], and the weights [B, heads, N, N].
    """
    weights = (query * scaling @ key.transpose(2, 3)).softmax(dim=-1)
    return (weights @ value).transpose(1, 2), weights


class SelfAttention(Attention):
    """timm's, computed by the implementation that `config` names, or eagerly where its weights are needed."""

    config: PreTrainedConfig | None = None
    is_causal = False  # read by transformers' functions

    def forward(self, x: Tensor, needs_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """[B, N, C] -> [B, N, C], and weights [B, heads, N, N], or None unless they are needed."""
        query, key, value = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        implementation = "eager" if self.config is None or needs_weights else self.config._attn_implementation
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, attend_eagerly)
        attended, weights = attend(self, query, key, value, None, scaling=self.scale)
        return self.proj_drop(self.proj(attended.flatten(2))), weights


class TransformerLayer(GradientCheckpointingLayer, Block):
    """A layer with normalisation first (equations 5 and 6)."""

    def forward(self, x: Tensor, needs_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """[B, N, C] -> [B, N, C], and the attention's weights or None."""
        attended, weights = self.attn(self.norm1(x), needs_weights)
        x = x + self.drop_path1(attended)
        return x + self.drop_path2(self.mlp(self.norm2(x))), weights


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
        # With its size given, timm does not run the backbone to find it, which fails where only the weights are on the
        # meta device. It would look for channels in `feature_info`, which has none here.
        del backbone.feature_info
        stride = 4 * 2 ** (len(backbone_layers) - 1)
        patch_embed = partial(
            HybridEmbed, backbone=backbone, feature_size=-(-image_size // stride), feature_ratio=stride
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
            embed_layer=patch_embed,
            block_fn=TransformerLayer,
            attn_layer=SelfAttention,
            dynamic_img_size=True,
        )
        self.out_channels = embed_dim

    @property
    def grid_size(self) -> tuple[int, int]:
        """Height and width of the token map."""
        return self.patch_embed.grid_size

    # what transformers sets to have the backward pass compute activations again; the layers have their own
    gradient_checkpointing = property(lambda self: self.grad_checkpointing, VisionTransformer.set_grad_checkpointing)

    def forward(
        self, x: Tensor, hidden_states: list[Tensor] | None = None, attentions: list[Tensor] | None = None
    ) -> Tensor:
        """Computes the map after the final LayerNorm.

        Args:
            x: Images [B, in_channels, H, W]; where they are not of `image_size`, position embeddings are resampled.
            hidden_states: Takes the tokens [B, N, embed_dim] before the first layer and after each.
            attentions: Takes the weights [B, num_heads, N, N] of each layer.

        Returns:
            [B, embed_dim, h, w]; h and w are a sixteenth of H and W with three backbone stages.
        """
        x = self.patch_embed(x)  # [B, h, w, embed_dim]
        grid_size = x.shape[1:3]
        x = self._pos_embed(x)
        if hidden_states is not None:
            hidden_states.append(x)
        for layer in self.blocks:
            x, weights = layer(x, attentions is not None)
            if hidden_states is not None:
                hidden_states.append(x)
            if attentions is not None:
                attentions.append(weights)
        return self.norm(x)[:, self.num_prefix_tokens :].transpose(1, 2).unflatten(2, grid_size)
