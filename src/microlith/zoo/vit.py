"""A vision transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of shape (N, tokens, width)."""
        batch, tokens, width = x.shape
        split = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = scaled_dot_product_attention(query, key, value)
        found: Tensor = self.project(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return found


class Block(nn.Module):
    """Attention, then two linear layers at every token; each normalized before and added to its input."""

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of shape (N, tokens, width)."""
        x = x + self.attention(self.norm1(x))
        y: Tensor = self.mlp(self.norm2(x))
        return x + y


class VisionTransformer(nn.Module):
    """Classifier of images.

    Source: Dosovitskiy et al., An Image is Worth 16x16 Words, arXiv:2010.11929, section 3.1.

    Args:
        image: height and width.
        patch: height and width of a patch; divides ``image``.
        width: size of a token; a multiple of ``heads``.
        depth: blocks.
        heads: of the attention.
        classes: number of logits.
        in_channels: of the image.
    """

    def __init__(
        self,
        image: int = 32,
        patch: int = 4,
        width: int = 96,
        depth: int = 6,
        heads: int = 3,
        classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        tokens = (image // patch) ** 2
        self.embed = nn.Conv2d(in_channels, width, patch, patch)
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens + 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads, 4) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.classify = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images of shape (N, in_channels, image, image)."""
        patches = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), patches], 1) + self.position
        logits: Tensor = self.classify(self.norm(self.blocks(tokens))[:, 0])
        return logits
