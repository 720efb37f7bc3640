"""A bundle is checked: each missing or changed file is named, and models and measurements are compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from acting_bench import ActingBench
from quick_runs import OneChoice

import nas
from nas.errors import CandidateError, JournalError, RecipeError, TargetError
from nas.results.bundle import ABOUT, WEIGHTS
from nas.results.bundled.manifest import MANIFEST, write_manifest
from nas.results.bundled.samples import SAMPLES
from nas.values.target import Target

OLD = Path(__file__).parents[1] / "old_runs" / "finished" / "winners" / "092b56132795"


ACTING = nas.Effort(bench=ActingBench())


def change_about(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a bundle's description, and write the hashes anew."""
    about = json.loads((bundle / ABOUT).read_text())
    change(about)
    (bundle / ABOUT).write_text(json.dumps(about))
    write_manifest(bundle, "1.0")


def verify(what: Path, bench: ActingBench | None = None, **more: Any) -> nas.VerifiedBundle:
    return nas.verify_bundle(what, effort=nas.Effort(bench=bench or ActingBench()), progress=None, **more)


def states(found: nas.VerifiedBundle) -> dict[str, str]:
    return {check.what: check.state for check in found.checks}


def test_a_whole_bundle_is_sound(bundle: Path) -> None:
    """Files, weights and the deployed model; values that moved are told, and are no fault."""
    found = verify(bundle, space=OneChoice())
    assert found.is_sound
    assert found.is_complete, found
    assert states(found) == dict.fromkeys(
        ("files", f"{WEIGHTS} in torch", "predict.py", "model.onnx", "measuring again"), "sound"
    )
    assert set(found.moved) == {"latency_ms"}
    assert repr(found).endswith("The bundle is sound.")
    assert found.to_json()["sound"] is True


def test_what_cannot_be_checked_is_told(bundle: Path) -> None:
    """The space was an object; it is given to Python alone."""
    found = verify(bundle, measure=False)
    assert states(found)[f"{WEIGHTS} in torch"] == "unchecked"
    assert found.moved == {}
    assert repr(found).endswith("The bundle is sound, as far as it can be checked here.")


@pytest.mark.parametrize("name", ["model.onnx", SAMPLES, "predict.py", "measurement.json", ABOUT])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    """What depends on it is not checked."""
    (bundle / name).unlink()
    found = verify(bundle, space=OneChoice())
    assert not found.is_sound
    assert f"{name} is missing." in repr(found)


def test_a_changed_file_is_named(bundle: Path) -> None:
    """It is not run."""
    (bundle / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes()[:-1] + b"x")
    found = verify(bundle, measure=True, space=OneChoice())
    assert "model.onnx has changed: its SHA-256 is" in repr(found)
    assert states(found)["model.onnx"] == "unchecked"
    assert found.moved == {}


def test_a_further_file_is_named(bundle: Path) -> None:
    (bundle / "notes.txt").write_text("mine")
    assert "the manifest does not have notes.txt." in repr(verify(bundle, measure=False))


def test_what_python_compiled_is_told(bundle: Path) -> None:
    """It lies there wherever ``predict.py`` was imported, but somebody else may have put it there."""
    (bundle / "__pycache__").mkdir()
    (bundle / "__pycache__" / "inputs.cpython-311.pyc").write_bytes(b"anything")
    found = verify(bundle, measure=False)
    assert found.is_sound
    assert states(found)["__pycache__"] == "unchecked"


def test_nothing_is_said_of_a_place_that_was_not_recorded(bundle: Path) -> None:
    """Without a measurement of then nobody knows the processor."""
    (bundle / "measurement.json").write_text('{"nonsense_ms": 3, "error": {}}')
    write_manifest(bundle, "1.0")
    found = verify(bundle, space=OneChoice())
    (text,) = [check.text for check in found.checks if check.what == "measuring again"]
    assert text == "1 metric."


def test_models_that_differ_from_torch_are_found(bundle: Path) -> None:
    """Though all hashes are right, as after somebody wrote the manifest again."""
    found = verify(bundle, ActingBench(bend=lambda outputs: outputs + 1), measure=False)
    assert states(found)["model.onnx"] == "failed"
    weights = bytearray((bundle / WEIGHTS).read_bytes())
    weights[-400:] = bytes(400)
    (bundle / WEIGHTS).write_bytes(weights)
    write_manifest(bundle, "1.0")
    found = verify(bundle, measure=False, space=OneChoice())
    assert states(found)[f"{WEIGHTS} in torch"] == "failed"
    assert {state for what, state in states(found).items() if what != f"{WEIGHTS} in torch"} == {"sound"}


@pytest.mark.parametrize("precision", ["int8", "fp16", "bf16"])
def test_a_lower_precision_may_round_and_not_more(bundle: Path, precision: str) -> None:
    """Negated outputs are no rounding, unless the user says so."""
    change_about(bundle, lambda about: about.update(target=f"onnxruntime-cpu:{precision}:batch=1:threads=1"))
    rounded = verify(bundle, ActingBench(bend=lambda outputs: outputs * 1.01), measure=False)
    assert states(rounded)["model.onnx"] == "sound"
    negated = ActingBench(bend=lambda outputs: -outputs)
    found = verify(bundle, negated, measure=False)
    assert states(found)["model.onnx"] == "failed"
    assert "pass --least-agreement" in repr(found)
    assert not found.is_sound
    assert states(verify(bundle, negated, measure=False, least_agreement=0.0))["model.onnx"] == "sound"
    with pytest.raises(RecipeError, match=r"must be a share, from 0 to 1, but got 75"):
        verify(bundle, least_agreement=75)


def test_a_bundle_of_a_board_is_measured_on_the_board(bundle: Path) -> None:
    """Its outputs are compared with those of the device that it names, too."""
    target = "pi/onnxruntime-cpu:fp32:batch=1:threads=1"
    change_about(bundle, lambda about: about.update(target=target))
    bench = ActingBench()
    found = verify(bundle, bench)
    assert found.is_sound
    assert list(found.moved) == ["latency_ms"]
    assert bench.target == Target.parse(target)


def test_weights_that_cannot_be_read_are_a_failure(bundle: Path) -> None:
    """And so are the kept items."""
    (bundle / WEIGHTS).write_bytes(b"nothing of that kind")
    write_manifest(bundle, "1.0")
    assert states(verify(bundle, measure=False, space=OneChoice()))[f"{WEIGHTS} in torch"] == "failed"
    (bundle / SAMPLES).write_bytes(b"nothing of that kind")
    write_manifest(bundle, "1.0")
    found = verify(bundle, measure=False, space=OneChoice())
    assert set(states(found).values()) == {"sound", "failed"}
    assert states(found)["predict.py"] == "failed"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda about: about["answers"]["names"].pop(), "9 names of answers, but the model has 10 outputs"),
        (lambda about: about["answers"].update(kind="regression"), "the kind regression, but the kept items have one"),
        (lambda about: about["signature"].update(output=[9]), "outputs of shape (9,), but torch's recorded ones have"),
        (
            lambda about: about["preparation"].update(height=9),
            "prepared to (1, 9, 8), but the kept ones have (1, 8, 8)",
        ),
        (lambda about: about["preparation"].update(mean=[0.9]), "outputs differ from those of torch"),
        (lambda about: about.update(batch=3), "it fails on the kept items: onnxruntime"),
    ],
)
def test_a_description_that_does_not_fit_its_model_is_found(
    bundle: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    """All hashes are right; the script that people run would answer wrongly, or not at all."""
    change_about(bundle, change)
    found = verify(bundle, measure=False)
    (text,) = [check.text for check in found.checks if check.what == "predict.py"]
    assert says in text
    assert states(found)["predict.py"] == "failed"
    assert not found.is_sound


def test_a_script_of_somebody_else_runs_with_trust_only(bundle: Path, tmp_path: Path) -> None:
    """What it does wrong is then told."""
    harm = tmp_path / "harm"
    script = (bundle / "predict.py").read_text()
    (bundle / "predict.py").write_text(f"{script.split('if __name__')[0]}\nPath({str(harm)!r}).touch()\n")
    write_manifest(bundle, "1.0")
    found = verify(bundle, measure=False)
    assert states(found)["predict.py"] == "unchecked"
    assert "so it would run other code" in repr(found)
    assert not harm.exists()
    assert states(verify(bundle, measure=False, trust=True))["predict.py"] == "sound"
    assert harm.exists()
    (bundle / "predict.py").write_text("import no_such_module\n")
    write_manifest(bundle, "1.0")
    assert "No module named 'no_such_module'" in repr(verify(bundle, measure=False, trust=True))


def test_a_model_that_the_runtime_refuses_fails(bundle: Path) -> None:
    found = verify(bundle, ActingBench(refusal=CandidateError("measure", "it refuses")))
    assert states(found)["measuring again"] == "failed"


def test_a_device_that_cannot_measure_now_hides_no_other_check(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any) -> None:
        raise TargetError("the device is busy.")

    bench = ActingBench()
    monkeypatch.setattr(bench, "measure", busy)
    found = verify(bundle, bench)
    assert states(found)["model.onnx"] == "sound"
    assert states(found)["measuring again"] == "unchecked"
    assert "the device is busy." in repr(found)
    assert found.is_sound
    assert not found.is_complete


def test_a_bundle_without_hashes_opens(tmp_path: Path) -> None:
    """One of version 0.5 has no items either, and no weights. Nothing can be checked, so nobody calls it sound."""
    found = verify(OLD, measure=False, space=None)
    assert not found.has_failed
    assert not found.is_sound
    assert "nobody knows if it is sound" in repr(found)
    assert states(found)["files"] == "unchecked"
    assert f"there is no {MANIFEST}" in repr(found)


def test_an_exported_form_is_checked_like_a_winner(bundle: Path) -> None:
    form = nas.export_bundle(bundle, "onnx", effort=nas.Effort(bench=ActingBench()), progress=None)
    found = verify(form.folder)
    assert found.is_complete
    assert found.is_sound


@pytest.mark.parametrize("content", ["[]", '{"format": 2, "files": {}}', "no JSON"])
def test_a_damaged_manifest_is_told(bundle: Path, content: str) -> None:
    (bundle / MANIFEST).write_text(content)
    assert states(verify(bundle, measure=False))["files"] == "failed"


def test_a_bundle_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / ABOUT).write_text("{")
    with pytest.raises(JournalError, match=r"must hold architecture\.json"):
        verify(tmp_path)


def test_code_that_a_bundle_names_does_not_run(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as its runtime, nor as its space, nor as the parent of that; all hashes are right."""
    harm = tmp_path / "harm"
    (tmp_path / "harmful.py").write_text(f"import pathlib\npathlib.Path({str(harm)!r}).touch()\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    about = json.loads((bundle / ABOUT).read_text())
    changes: list[dict[str, Any]] = [
        {"target": "harmful:Runtime:fp32:batch=1:threads=1"},
        {"space": {"name": "harmful:Space"}},
        {"space": {"name": "shrunk", "parent": "harmful:make"}},
    ]
    for change in changes:
        (bundle / ABOUT).write_text(json.dumps({**about, **change}))
        write_manifest(bundle, "1.0")
        found = nas.verify_bundle(bundle, measure=False, progress=None, effort=None if "target" in change else ACTING)
        assert "names code of its own, harmful:" in repr(found)
        assert "--trust" in repr(found)
        assert not found.is_complete
        assert not harm.exists()


def test_a_runtime_that_is_not_here_is_told(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = json.loads((bundle / ABOUT).read_text())
    (bundle / ABOUT).write_text(json.dumps({**about, "target": "litert-cpu:fp32:batch=1:threads=1"}))
    write_manifest(bundle, "1.0")
    monkeypatch.setenv("NAS_HOME", str(bundle.parent / "no-home"))
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    found = nas.verify_bundle(bundle, progress=None)
    assert "nas target install litert-cpu" in repr(found)
    assert found.is_sound
