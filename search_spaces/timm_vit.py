"""Vision transformers (Dosovitskiy et al., 2021, arXiv:2010.11929), built by timm.

The choices follow AutoFormer (Chen et al., 2021, arXiv:2107.00651): depth, width, heads and MLP ratio. Two are added:
the patch size, which determines the number of tokens, and the pooling of tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from timm.models.vision_transformer import VisionTransformer
from torch import nn

from nas.space.architecture import Architecture, Choice
from search_spaces.accepted import IMAGES, image_shape

PATCH_SIZES = (2, 4, 7, 8, 14, 16, 32)
FEWEST_TOKENS = 4
LARGEST_SMALL_SIDE = 64


@dataclass(frozen=True)
class Size:
    """Options for images up to some size."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    head_widths: tuple[int, ...]
    mlp_ratios: tuple[float, ...]
    most_tokens: int


SMALL = Size((1, 2, 3, 4, 6), (32, 64, 96, 128), (16, 32), (1.0, 2.0, 4.0), most_tokens=64)
LARGE = Size((6, 8, 10, 12), (192, 256, 320, 384), (32, 64), (2.0, 3.0, 4.0), most_tokens=256)


class TimmVit:
    """Vision transformers (Dosovitskiy et al., 2021, arXiv:2010.11929) with choices as in AutoFormer.

    Patch sizes must divide both sides of the image. By default, ``patch_sizes`` are all that give 4 to 64 tokens, or up
    to 256 tokens for images larger than 64×64.

    >>> space = TimmVit(input_shape=(3, 32, 32), classes=10)
    >>> network = space.build(nas.sample(space, np.random.default_rng(0)))

    Raises:
        ValueError: a patch size does not divide the image, or no default patch size does.
    """

    accepts = IMAGES

    def __init__(
        self, input_shape: tuple[int, int, int], classes: int, patch_sizes: tuple[int, ...] | None = None
    ) -> None:
        self._channels, height, width = image_shape(self, input_shape)
        self._image_size = (height, width)
        self._classes = classes
        size = SMALL if max(height, width) <= LARGEST_SMALL_SIDE else LARGE
        if patch_sizes is None:
            patch_sizes = tuple(patch for patch in PATCH_SIZES if self._fits(patch, size.most_tokens))
        for patch in patch_sizes:
            if patch < 1 or math.gcd(height, width) % patch:
                raise ValueError(f"patch_sizes must divide the image of {height}×{width}, but got {patch}.")
        if not patch_sizes:
            raise ValueError(
                f"the image must be divisible into {FEWEST_TOKENS} to {size.most_tokens} patches with a side in "
                f"{PATCH_SIZES}, but got one of {height}×{width}; set the option patch_sizes, or resize the images."
            )
        self.choices = (
            Choice("patch_size", tuple(patch_sizes)),
            Choice("depth", size.depths),
            Choice("width", size.widths),
            Choice("head_width", size.head_widths),
            Choice("mlp_ratio", size.mlp_ratios),
            Choice("pool", ("token", "avg")),
        )

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the torch module, with weights drawn from torch's global random state."""
        width = int(architecture["width"])
        has_token = architecture["pool"] == "token"
        network: nn.Module = VisionTransformer(
            img_size=self._image_size,
            patch_size=int(architecture["patch_size"]),
            in_chans=self._channels,
            num_classes=self._classes,
            embed_dim=width,
            depth=int(architecture["depth"]),
            num_heads=width // int(architecture["head_width"]),
            mlp_ratio=float(architecture["mlp_ratio"]),
            global_pool="token" if has_token else "avg",
            class_token=has_token,
        )
        return network

    def _fits(self, patch: int, most_tokens: int) -> bool:
        height, width = self._image_size
        tokens = (height // patch) * (width // patch)
        return math.gcd(height, width) % patch == 0 and FEWEST_TOKENS <= tokens <= most_tokens
