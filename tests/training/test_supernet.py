"""Shared weights fit the modules, batch statistics are estimated again, and a misfit gives a clear message."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from sharing_space import SharingSpace, TinySupernet
from tiny_space import TinySpace
from torch import nn

from nas.errors import CandidateError, SpaceError
from nas.space.architecture import Architecture
from nas.space.search_space import enumerate_space
from nas.space.signature import image_signature
from nas.tasks.data_source import DataSource
from nas.tasks.images.images import Images
from nas.training.modules import error_of
from nas.training.supernet import SharedEvaluation, SharedWeights, check_supernet, recalibrate

DIGITS = DataSource(name="digits")
CPU = torch.device("cpu")
SMALL = Architecture({"width": 8, "depth": 1, "kernel": 1})


def content_of(supernet: nn.Module, scale: float = 1.0) -> bytes:
    return save({name: scale * p.detach().contiguous() for name, p in supernet.named_parameters()})


def drawn_supernet() -> TinySupernet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return TinySupernet()


def test_every_architecture_gets_its_share() -> None:
    """Weights are copied into the module by name, also in another process that rebuilds the supernet."""
    supernet = drawn_supernet()
    shared = pickle.loads(pickle.dumps(SharedWeights(SharingSpace(), content_of(supernet))))
    for architecture in enumerate_space(SharingSpace()):
        module = SharingSpace().build(architecture)
        shared(architecture, module)
        parameters = dict(module.named_parameters())
        weights = supernet.weights(architecture)
        assert parameters.keys() == weights.keys()
        assert all(torch.equal(parameters[name], weights[name]) for name in weights)


def test_a_supernet_that_does_not_fit_is_refused_before_work_begins() -> None:
    """The message names architecture, parameter and both shapes; a missing supernet is refused too."""

    class Wrong(TinySupernet):
        def weights(self, architecture: Architecture) -> dict[str, torch.Tensor]:
            return {**super().weights(architecture), "1.bias": torch.zeros(5)}

    class WrongSpace(TinySpace):
        def supernet(self) -> TinySupernet:
            return Wrong()

    class NoModule(TinySpace):
        def supernet(self) -> Any:
            return {"weights": 1}

    check_supernet(SharingSpace(), image_signature((1, 8, 8), 10))
    with pytest.raises(
        SpaceError, match=r"width=4 depth=0\) '1.bias' has the shape \(5,\) in the weights and \(4,\) in"
    ):
        check_supernet(WrongSpace(), image_signature((1, 8, 8), 10))
    with pytest.raises(SpaceError, match=r"must return a torch.nn.Module with a method weights.*but returned a dict"):
        check_supernet(NoModule(), image_signature((1, 8, 8), 10))
    with pytest.raises(SpaceError, match=r"a method supernet\(\), but TinySpace has none"):
        check_supernet(TinySpace(), image_signature((1, 8, 8), 10))


def test_statistics_are_averages_over_training_images(digits: Images) -> None:
    """Only full batches count, earlier statistics are forgotten, and the momentum is restored."""
    module = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10))
    norm = module[0]
    assert isinstance(norm, nn.BatchNorm2d)
    norm(100 + torch.rand(4, 1, 8, 8))
    recalibrate(module, digits, 256, CPU)
    seen = digits.prepared(digits.sample(256).raw)[0]
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert float(norm.running_mean) == pytest.approx(float(seen.mean()), abs=1e-5)
    halves = [float(np.var(half, ddof=1)) for half in np.split(seen, 2)]
    assert float(norm.running_var) == pytest.approx(np.mean(halves), rel=1e-4)
    assert norm.momentum == 0.1
    assert not any(part.training for part in module.modules())


def evaluate(content: bytes, seed: int = 0) -> dict[str, Any]:
    task = SharedEvaluation(SharingSpace(), DIGITS, SharedWeights(SharingSpace(), content), 256, "cpu", 1)
    (report,) = task({"id": SMALL.id, "architecture": dict(SMALL), "seed": seed})
    return report


def test_an_evaluation_is_the_error_of_the_recalibrated_module(digits: Images) -> None:
    """There is one report, and it does not depend on the seed."""
    content = content_of(drawn_supernet())
    module = SharingSpace().build(SMALL)
    SharedWeights(SharingSpace(), content)(SMALL, module)
    recalibrate(module, digits, 256, CPU)
    report = evaluate(content, seed=1)
    assert report["error"] == evaluate(content, seed=2)["error"] == error_of(module, digits.validation, digits)
    assert (report["epoch"], report["by"], report["done"]) == (1, "supernet", True)


def test_nan_outputs_are_a_failure() -> None:
    """NaN outputs fail instead of counting as class 0."""
    with pytest.raises(CandidateError, match="outputs must be finite") as caught:
        evaluate(content_of(drawn_supernet(), float("nan")))
    assert caught.value.kind == "nan"
