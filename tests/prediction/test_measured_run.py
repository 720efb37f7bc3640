"""The measurements of a run, and code that a run folder names, which is run only for those who trust it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_predictor import Settings
from fault_spaces import Faulty
from profiled_store import keep_profiles
from quick_runs import EXPORT, write_any_model
from uncertain_runs import search

import nas
from nas.errors import RecipeError
from nas.prediction.measured_run import check_trusted, code_in, device_of_run, recipe_of_run
from nas.space.first_look import LookHere


def recipe(**space: str) -> nas.Recipe:
    return nas.Recipe.from_mapping({"space": space})


def test_a_function_that_returns_a_parent_is_code() -> None:
    """An installed space may name some in its options; models of timm are none."""
    assert code_in(recipe(name="shrunk", parent="my_models:make")) == ["shrunk", "my_models:make"]
    assert code_in(recipe(name="shrunk", parent="timm:resnet18")) == ["shrunk"]
    assert code_in(recipe(name="mobilenet")) == ["mobilenet"]
    assert code_in(recipe(name="my_spaces:Mine")) == ["my_spaces:Mine"]


def test_code_needs_trust() -> None:
    run = Path("runs/theirs")
    check_trusted(run, ["shrunk", "gp"], trust=False)
    check_trusted(run, ["shrunk", "my_models:make"], trust=True)
    with pytest.raises(RecipeError, match=r"names code of its own, my_models:make, which this command must run"):
        check_trusted(run, ["shrunk", "my_models:make"], trust=False)


@pytest.mark.slow
@pytest.mark.parametrize(("kept_at", "is_earlier"), [(-1.0, True), (1e12, False)])
def test_what_was_profiled_before_a_run_began_is_told_as_in_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_at: float, is_earlier: bool
) -> None:
    """The networks that the run measured are left out, and so are all that were profiled since."""
    monkeypatch.setattr(EXPORT, write_any_model)
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    with monkeypatch.context() as patch:
        patch.setattr("nas.storage.measurement_store.time.time", lambda: kept_at)
        count = keep_profiles(tmp_path / "home", "here-1")
    search(tmp_path, Settings(), fingerprint="here-2")
    run, signature = tmp_path / "run", nas.image_signature((1, 8, 8), 10)
    look = LookHere(Faulty(), signature)
    device = device_of_run(run, recipe_of_run(run, print), Faulty(), look, signature, [], 0)
    measured = set(device.values["latency_ms"])
    assert len(device.profiled) == (count - len(measured) if is_earlier else 0)
    assert not {network.architecture for network in device.profiled} & measured
