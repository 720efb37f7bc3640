"""A parent whose weights are not finite, or that cannot be exported, is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_parents
import torch
from torch import nn

from nas.errors import RecipeError
from nas.searching.run import look
from nas.searching.shrinking import shrinking_recipe


class Fourier(nn.Module):
    """A network that autograd can follow, with an operation that ONNX lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small_parents.make_digits()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        turned: torch.Tensor = torch.linalg.qr(x + 1e-3 * torch.randn_like(x)).R
        out: torch.Tensor = self.body(turned)
        return out


def make_fourier() -> nn.Module:
    return Fourier()


def make_broken() -> nn.Module:
    """A model whose training diverged."""
    module = small_parents.make_digits()
    with torch.no_grad():
        module.get_parameter("head.weight")[0, :3] = torch.nan
    return module


def looked(parent: str, runs: Path) -> list[str]:
    """What a dry run of ``nas shrink`` says."""
    values = {"data": {"name": "digits"}, "space": {"widths": [0.5], "trunks": [0.5]}}
    return look(shrinking_recipe(values, parent), runs, None)[1]


def test_a_dry_run_refuses_weights_that_are_not_finite(tmp_path: Path) -> None:
    """The message names the tensor. A model with finite weights is taken."""
    assert looked("small_parents:make_digits", tmp_path)
    with pytest.raises(RecipeError, match=r"head\.weight must be finite, but has NaN or infinite values"):
        looked("test_parent_checks:make_broken", tmp_path)


@pytest.mark.slow
def test_a_dry_run_tries_the_export(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="must be a model that can be exported to ONNX, as winners are, but"):
        looked("test_parent_checks:make_fourier", tmp_path)
