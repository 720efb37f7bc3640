"""Models of timm whose head sees the means of every stage's maps beside the last features.

Early features serve where pictures are unlike those of the model's own training, such as blood cells beside ImageNet
(Evci et al., "Head2Toe: Utilizing intermediate representations for better transfer learning", ICML 2022,
arXiv:2201.03529). A mean costs hardly anything beside the convolutions that make the maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn


class WithStages(nn.Module):
    """A model of timm without its head, and a linear head for its last features and for the means of all stages.

    ``side`` is that of pictures that the model takes, by which the number of features is found.

    Raises:
        ValueError: the model cannot tell its stages.
    """

    def __init__(self, body: nn.Module, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        if not callable(getattr(body, "forward_intermediates", None)):
            raise ValueError(f"the model must tell its stages, but {type(body).__name__} has no forward_intermediates.")
        self.body = body
        was_training = body.training
        body.eval()
        with torch.no_grad():
            width = self.features(torch.zeros(1, *shape)).shape[1]
        body.train(was_training)
        self.head = nn.Linear(width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits, shape (N, classes), of pictures, shape (N, channels, height, width)."""
        logits: torch.Tensor = self.head(self.features(images))
        return logits

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the head sees, shape (N, features)."""
        body = cast(Any, self.body)
        last, maps = body.forward_intermediates(images, output_fmt="NCHW")
        return torch.cat([body.forward_head(last, pre_logits=True), *(each.mean((2, 3)) for each in maps)], dim=1)

    def get_classifier(self) -> nn.Module:
        """Return the head, as models of timm do."""
        return self.head

    def group_matcher(self, coarse: bool = False) -> Callable[[str], float]:
        """Return the function from a parameter's name to the place of its stage, or of its layer unless ``coarse``."""
        from timm.models import group_parameters

        matcher = cast(Any, self.body).group_matcher(coarse=coarse)
        places: dict[str, int] = group_parameters(self.body, matcher, reverse=True)
        return lambda name: places.get(name.removeprefix("body."), math.inf)
