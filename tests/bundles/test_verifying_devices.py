"""A bundle of several targets is checked on each of them, and one that is out of reach hides no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from acting_bench import ActingBench
from commands import run_nas

import nas
from nas.errors import RecipeError, TargetError
from nas.results.bundle import ABOUT
from nas.results.bundled.manifest import write_manifest
from nas.values.target import Target

FIRST = "onnxruntime-cpu:fp32:batch=1:threads=1"
PI, ATTIC = "pi/onnxruntime-cpu:fp32:batch=1:threads=1", "attic/onnxruntime-cpu:fp32:batch=1:threads=1"
THERE = "deployed-on/attic/model.onnx"


@pytest.fixture(name="several")
def bundle_of_several(bundle: Path) -> Path:
    """A bundle that was measured on two further devices, each twice as slow as the one before."""
    measured = json.loads((bundle / "measurement.json").read_text())
    first = measured["latency_ms"]
    for number, (on, target) in enumerate({"pi": PI, "attic": ATTIC}.items(), start=1):
        rounds = [[2**number * each for each in samples] for samples in first["rounds"]]
        measured[f"{on}/latency_ms"] = {**first, "rounds": rounds, "target": target, "conditions": {"runtime": on}}
    (bundle / "measurement.json").write_text(json.dumps(measured))
    (bundle / THERE).parent.mkdir(parents=True)
    shutil.copy(bundle / "model.onnx", bundle / THERE)
    about = json.loads((bundle / ABOUT).read_text())
    files = {"pi": (PI, "model.onnx"), "attic": (ATTIC, THERE)}
    about["elsewhere"] = {
        on: {"target": target, "deployed": file, "test_error": [0.1, 0.0, 0.2]} for on, (target, file) in files.items()
    }
    (bundle / ABOUT).write_text(json.dumps(about))
    write_manifest(bundle, "1.0")
    return bundle


def verified(bundle: Path, gone: Iterable[str] = (), **more: Any) -> tuple[nas.VerifiedBundle, list[str]]:
    """Verify a bundle where each model takes 1 ms, and return the targets that were opened; ``gone`` do not answer."""
    opened: list[str] = []

    class Gone(ActingBench):
        def outputs(self, *_: Any) -> Any:
            raise TargetError(f"{self.target.device} does not answer: is it switched on?")

    def on(target: Target) -> ActingBench:
        opened.append(str(target))
        return (Gone() if target.device in set(gone) else ActingBench())(target)

    return nas.verify_bundle(bundle, effort=nas.Effort(bench=on), progress=None, **more), opened


def states(found: nas.VerifiedBundle) -> dict[str, str]:
    return {check.what: check.state for check in found.checks}


def test_each_target_is_checked_with_the_file_that_runs_there(several: Path) -> None:
    """There is a line for each, and values of one device are compared with those of the same."""
    found, opened = verified(several)
    assert opened == [FIRST, PI, ATTIC]
    assert found.is_sound, found
    here, there = "measuring again", "model.onnx on pi"
    assert {here, there, f"{here} on pi", f"{THERE} on attic", f"{here} on attic"} < set(states(found))
    ratios = {name: each.ratio.value for name, each in found.moved.items() if each.ratio is not None}
    assert ratios["pi/latency_ms"] == pytest.approx(ratios["latency_ms"] / 2, rel=0.01)
    assert ratios["attic/latency_ms"] == pytest.approx(ratios["latency_ms"] / 4, rel=0.01)
    assert "latency on attic" in repr(found)
    assert found.circumstances == ("on pi, runtime: pi → a runtime 2.0", "on attic, runtime: attic → a runtime 2.0")


def test_a_device_out_of_reach_is_told_once_and_hides_no_other(several: Path) -> None:
    """The bundle is sound as far as it can be checked."""
    found, _ = verified(several, gone=["pi"])
    assert found.is_sound
    assert not found.is_complete
    assert [check.state for check in found.checks if "pi" in check.what] == ["unchecked"]
    assert repr(found).count("pi does not answer: is it switched on?") == 1
    assert list(found.moved) == ["latency_ms", "attic/latency_ms"]


def test_another_model_on_one_device_is_found(several: Path) -> None:
    """All hashes are right, and the models for the other targets are sound."""
    (several / THERE).write_bytes(b"no model")
    write_manifest(several, "1.0")
    found, _ = verified(several)
    assert [what for what, state in states(found).items() if state == "failed"] == [f"{THERE} on attic"]
    assert not found.is_sound
    (several / THERE).unlink()
    write_manifest(several, "1.0")
    assert f"{THERE} on attic: it is missing, or lies outside the bundle." in repr(verified(several)[0])


@pytest.mark.parametrize(
    ("asked", "opened"),
    [
        (["pi"], [PI]),
        (["attic/onnxruntime-cpu", "pi", "pi/onnxruntime-cpu:fp32"], [ATTIC, PI]),
        (["onnxruntime-cpu"], [FIRST]),
    ],
)
def test_some_targets_are_named(several: Path, asked: list[str], opened: list[str]) -> None:
    """By their texts, or by their names; each is checked once, and model.onnx is compared with torch in any case."""
    found, places = verified(several, targets=asked)
    assert places == opened
    assert states(found)["model.onnx"] == "sound"
    assert found.is_sound


@pytest.mark.slow
def test_a_target_that_the_run_did_not_measure_is_refused(several: Path) -> None:
    """The message tells those that it did."""
    with pytest.raises(RecipeError, match=rf"its run measured, {FIRST} and {PI} and {ATTIC}, but got onnxruntime-cpu"):
        verified(several, targets=["onnxruntime-cpu:int8"])
    told = run_nas("bundle", "verify", several, "--target", "litert-cpu")
    assert told.returncode == 2
    assert "nas drift RUN --target litert-cpu" in told.stderr


def test_code_that_a_further_target_names_does_not_run(several: Path) -> None:
    """Neither to check it, nor to measure the winners of its run again."""
    about = json.loads((several / ABOUT).read_text())
    about["elsewhere"]["pi"]["target"] = "pi/harmful:Runtime:fp32:batch=1:threads=1"
    (several / ABOUT).write_text(json.dumps(about))
    write_manifest(several, "1.0")
    found, opened = verified(several)
    assert opened == [FIRST, ATTIC]
    assert "names code of its own, harmful:Runtime, which" in repr(found)
    drifted = nas.drift(several.parents[1], effort=nas.Effort(bench=ActingBench()), progress=None)
    (failed,) = drifted.failed
    assert "names code of its own, harmful:Runtime, which" in failed.failure
