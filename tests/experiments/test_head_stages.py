"""Heads of the last features and of all stages are fitted to the same photos, and tested on the same others."""

from __future__ import annotations

import torch
from tiny_zoo import CONVNET

from experiments import head_stages
from search_spaces.timm_stages import WithStages


def test_features_behind_the_width_serve_the_second_head_alone() -> None:
    """Classes are told by the last column: noise gives one head errors, and none the other."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(60) % 2
    features = torch.cat([torch.randn(60, 3, generator=generator), 4.0 * targets[:, None]], dim=1)
    for number in range(2):
        last, stages = head_stages.errors_of_heads(features, 3, targets, number)
        assert last > 0.1
        assert stages == 0


def test_means_of_stages_come_last() -> None:
    import timm

    module = WithStages(timm.create_model(CONVNET, num_classes=0), (3, 32, 32), 2).eval()
    pictures = torch.rand(3, 3, 32, 32)
    features = head_stages.features_of(module, pictures)
    before = features.shape[1] - head_stages.maps_of(module, pictures[:1])
    last = module.body(pictures)
    torch.testing.assert_close(features[:, :before], last)
