"""Many architectures scored by one job: with the errors that each has alone, and a failure harms no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import small_parents
import torch
from quick_training import DIGITS
from safetensors.torch import save
from sharing_space import SharingSpace, TinySupernet

import nas
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace, ends, enumerate_space
from nas.space.signature import image_signature
from nas.training.inheriting import Inheritance
from nas.training.shared_scoring import SharedScoring
from nas.training.supernet import SharedEvaluation, SharedWeights, make_supernet
from search_spaces.shrinking.elastic import ElasticParent
from search_spaces.shrunk import Shrunk

SIGNATURE = image_signature((1, 8, 8), 10)


def evaluation(space: SearchSpace, shared: SharedWeights, images: int = 128) -> SharedEvaluation:
    return SharedEvaluation(space, DIGITS, shared, images, "cpu", 1)


def shared_of(space: SearchSpace, inheritance: Inheritance | None = None) -> SharedWeights:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        supernet = make_supernet(space, inheritance)
    content = save({name: each.detach().clone() for name, each in supernet.named_parameters()})
    return SharedWeights(space, content, inheritance)


def job(architectures: list[Architecture]) -> Mapping[str, Any]:
    return {"id": "scoring", "seed": 0, "architectures": [dict(each) for each in architectures]}


@pytest.fixture(name="parted", scope="module")
def space_with_its_parent() -> tuple[Shrunk, Inheritance]:
    space = nas.load_space("shrunk", {"parent": "small_parents:make_digits", "sizes": [6]}, SIGNATURE)
    assert isinstance(space, Shrunk)
    content = save({k: v.contiguous().clone() for k, v in space.inheritance(space.parent_module(), ()).items()})
    return space, Inheritance(space, content)


def test_errors_are_those_of_each_alone(parted: tuple[Shrunk, Inheritance]) -> None:
    """At both resolutions, and the parent with its own weights."""
    space, inheritance = parted
    rng = np.random.default_rng(0)
    alone = evaluation(space, shared_of(space, inheritance))
    some = [space.parent, *(nas.sample(space, rng) for _ in range(6))]
    some.sort(key=lambda each: str(each["image_size"]))
    reports = list(SharedScoring(alone)(job(some)))
    assert [Architecture(report["architecture"]) for report in reports] == some
    assert [report.get("done", False) for report in reports] == [False] * 6 + [True]
    for architecture, report in zip(some, reports, strict=True):
        (expected,) = alone({"architecture": dict(architecture), "seed": 0})
        assert report["error"] == pytest.approx(expected["error"], abs=0.03)
        assert report.get("by") == expected.get("by")
    assert reports[some.index(space.parent)]["trained"] is False


def test_what_shared_runs_cannot_do_is_evaluated_alone() -> None:
    """A shortcut that a layer overwrites needs the module as it is."""
    space = nas.load_space("shrunk", {"parent": "small_parents:make_overwriting"}, SIGNATURE)
    assert isinstance(space, Shrunk)
    content = save({k: v.contiguous().clone() for k, v in space.inheritance(space.parent_module(), ()).items()})
    shared = shared_of(space, Inheritance(space, content))
    some = [each for each in enumerate_space(space) if each != space.parent]
    alone = evaluation(space, shared)  # by the items that calibrate forms which are run by units
    expected = [next(alone({"architecture": dict(each), "seed": 0}))["error"] for each in some]
    reports = list(SharedScoring(evaluation(space, shared, images=512))(job(some)))
    assert [report["error"] for report in reports] == expected
    assert len(set(expected)) > 1
    assert all(report["apart"] for report in reports)
    assert [report.get("done", False) for report in reports] == [False, False, True]


def test_a_failure_is_told_and_the_others_go_on(
    parted: tuple[Shrunk, Inheritance], monkeypatch: pytest.MonkeyPatch
) -> None:
    space, inheritance = parted
    rng = np.random.default_rng(1)
    some = [nas.sample(space, rng) for _ in range(3)]
    outputs = ElasticParent.outputs

    def broken(supernet: ElasticParent, architecture: Architecture, *given: Any) -> torch.Tensor:
        found = outputs(supernet, architecture, *given)
        return found * float("nan") if architecture == some[1] else found

    monkeypatch.setattr(ElasticParent, "outputs", broken)
    reports = list(SharedScoring(evaluation(space, shared_of(space, inheritance)))(job(some)))
    assert [report.get("failure", [""])[0] for report in reports] == ["", "nan", ""]
    assert "error" not in reports[1]


def test_statistics_that_collapse_make_a_poor_error_and_no_failure(parted: tuple[Shrunk, Inheritance]) -> None:
    """Maps that are constant have a variance of zero: what follows them guesses, and others are as ever."""
    space, inheritance = parted
    alone = evaluation(space, shared_of(space, inheritance))
    rng = np.random.default_rng(2)
    some = sorted((nas.sample(space, rng) for _ in range(3)), key=lambda each: str(each["image_size"]))
    before = [report["error"] for report in SharedScoring(alone)(job(some))]
    with torch.no_grad():
        stem = alone.shared.supernet.get_parameter("whole.stem.0.weight")
        kept = stem.clone()
        stem.zero_()
    collapsed = [report["error"] for report in SharedScoring(alone)(job(some))]
    assert all(0.8 <= error <= 1.0 for error in collapsed)
    with torch.no_grad():
        stem.copy_(kept)
    fresh = SharedScoring(evaluation(space, shared_of(space, inheritance)))
    assert [report["error"] for report in fresh(job(some))] == before


def test_a_supernet_that_runs_nothing_itself_is_evaluated_one_by_one() -> None:
    space = SharingSpace()
    assert not hasattr(TinySupernet, "outputs")
    alone = evaluation(space, shared_of(space))
    reports = list(SharedScoring(alone)(job(list(ends(space)))))
    expected = [next(alone({"architecture": dict(each), "seed": 0}))["error"] for each in ends(space)]
    assert [report["error"] for report in reports] == expected


def test_small_parents_have_batch_norms_to_calibrate() -> None:
    """Otherwise the tests above would not see if these were calibrated."""
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in small_parents.make_digits().modules())
