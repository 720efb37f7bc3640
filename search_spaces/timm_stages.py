"""Models of timm whose head sees the means of every stage's maps beside the last features.

Early features serve where pictures are unlike those of the model's own training, such as blood cells beside ImageNet
(Evci et al., "Head2Toe: Utilizing intermediate representations for better transfer learning", ICML 2022,
arXiv:2201.03529). A mean costs hardly anything beside the convolutions that make the maps.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from nas.space.own_code import own_code


class WithStages(nn.Module):
    """A model of timm without its head, and a linear head for its last features and for the means of all stages.

    ``shape`` is that of pictures that the model takes, by which the number of features is found. ``repeats`` tells if
    the mean of the last map is seen twice where it is also the last features, as in a ResNet.

    Raises:
        ValueError: the model cannot tell its stages.
    """

    def __init__(self, body: nn.Module, shape: tuple[int, int, int], classes: int, *, repeats: bool = True) -> None:
        super().__init__()
        if not callable(getattr(body, "forward_intermediates", None)):
            raise ValueError(f"the model must tell its stages, but {type(body).__name__} has no forward_intermediates.")
        self.body = body
        was_training = body.training
        body.eval()
        with torch.no_grad():
            self._sees_last = repeats or not self._are_last_map(shape)
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
        means = [each.mean((2, 3)) for each in maps]
        return torch.cat([*([body.forward_head(last, pre_logits=True)] if self._sees_last else []), *means], dim=1)

    def _are_last_map(self, shape: tuple[int, int, int]) -> bool:
        """Return True if the last features are the mean of the last stage's map, whatever the weights are."""
        body = cast(Any, self.body)
        last, maps = body.forward_intermediates(torch.zeros(1, *shape), output_fmt="NCHW")
        if maps[-1] is not last:
            return False
        # Large numbers, so that a normalisation that has learned nothing yet is told from none.
        drawn = 100 * torch.rand(last.shape, generator=torch.Generator().manual_seed(0))
        features, mean = body.forward_head(drawn, pre_logits=True), drawn.mean((2, 3))
        return features.shape == mean.shape and torch.allclose(features, mean, rtol=0, atol=1e-4)

    def get_classifier(self) -> nn.Module:
        """Return the head, as models of timm do."""
        return self.head

    def group_matcher(self, coarse: bool = False) -> Callable[[str], float]:
        """Return the function from a parameter's name to the place of its stage, or of its layer unless ``coarse``."""
        from timm.models import group_parameters

        matcher = cast(Any, self.body).group_matcher(coarse=coarse)
        places: dict[str, int] = group_parameters(self.body, matcher, reverse=True)
        return lambda name: places.get(name.removeprefix("body."), math.inf)


def with_stages(body: nn.Module, shape: tuple[int, ...], classes: int) -> WithStages | None:
    """Return a model of timm with a new head that sees all stages; None for one that tells no maps of several sides.

    ``shape`` is that of pictures that the model takes. The model itself stays as it is.
    """
    told = (getattr(body, name, None) for name in ("forward_intermediates", "forward_head", "reset_classifier"))
    if not all(map(callable, told)) or len(shape) != 3:
        return None
    channels, height, width = shape
    try:
        with own_code(), torch.no_grad():
            changed = cast(Any, copy.deepcopy(body).eval())
            changed.reset_classifier(0)
            _, maps = changed.forward_intermediates(torch.zeros(1, *shape), output_fmt="NCHW")
            if len({each.shape[-1] for each in maps}) < 2:
                return None
            found = WithStages(changed, (channels, height, width), classes, repeats=False)
    except Exception:  # a model may refuse the layout of maps, or its head: then it keeps the usual one
        return None
    return found.train(body.training)
