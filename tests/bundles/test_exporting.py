"""A winner in another form: a bundle of its own, that agrees with torch on real inputs and was measured."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from acting_bench import ActingBench
from quick_profile import known_profile
from quick_runs import OneChoice

import nas
from nas.bundles.forms import form_named, target_of
from nas.bundles.sources import Source
from nas.bundles.testing import UntestedError, _task_of
from nas.errors import CandidateError, JournalError, RecipeError, TargetError
from nas.formats.onnx_session import outputs_of
from nas.hardware.machine import usable_cores
from nas.progress import NullProgress
from nas.results.bundle import ABOUT, Bundle
from nas.results.bundled.card import CARD
from nas.results.bundled.manifest import MANIFEST, changes_in, write_manifest
from nas.results.bundled.samples import SAMPLES
from nas.tasks.carrying import recorded
from nas.tasks.loading import load_data
from nas.values.target import Target

ACTING = nas.Effort(bench=ActingBench())
QUICK = nas.Effort(max_rounds=2, within=1.0)


def export(what: Path, form: str, effort: nas.Effort = ACTING, **more: Any) -> nas.ExportedForm:
    return nas.export_bundle(what, form, effort=effort, progress=None, **more)


def test_a_form_is_a_bundle_of_its_own(bundle: Path) -> None:
    """It has a card, hashes, items and predict.py, and no weights for torch; the winner's bundle stays as it was."""
    form = export(bundle, "onnx")
    assert form.folder.parent == bundle.parent.resolve()
    assert form.folder.name == f"{bundle.name}-onnx-fp32"
    assert (form.folder / "model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()
    assert not (form.folder / "model.safetensors").exists()
    for name in (ABOUT, "measurement.json", CARD, SAMPLES, "predict.py", "pictures.py", "inputs.py"):
        assert (form.folder / name).is_file(), name
    for folder in (bundle, form.folder):
        found = changes_in(folder)
        assert not found.unsound
        assert not found.added
    about = json.loads((form.folder / ABOUT).read_text())
    assert about["form"]["format"] == "onnx"
    assert about["tested_on"] == json.loads((bundle / ABOUT).read_text())["target"]
    assert form.agreement.items > 100
    assert form.agreement.difference <= 1e-4
    assert "This is the form `onnx`" in (form.folder / CARD).read_text(encoding="utf-8")
    assert {path.name for path in bundle.parent.iterdir()} >= {bundle.name, form.folder.name}
    assert not (bundle.parent / ".unfinished").exists()


def test_a_form_names_no_file_for_a_further_target(bundle: Path) -> None:
    """Those stay in the winner's own bundle."""
    about = json.loads((bundle / ABOUT).read_text())
    there = {"target": "pi/onnxruntime-cpu", "deployed": "deployed-on/pi/model.onnx", "test_error": [0.2, 0.1, 0.3]}
    (bundle / ABOUT).write_text(json.dumps({**about, "elsewhere": {"pi": there}}))
    write_manifest(bundle, "1.0")
    form = export(bundle, "onnx")
    assert "deployed-on" not in (form.folder / CARD).read_text(encoding="utf-8")
    assert not Bundle.read(form.folder).further_targets


def test_the_same_export_replaces_the_form(bundle: Path) -> None:
    """Nothing else is replaced."""
    first = export(bundle, "onnx")
    (first.folder / "model.onnx").unlink()
    assert (export(bundle, "onnx").folder / "model.onnx").exists()
    (first.folder / "stray").write_text("mine")
    with pytest.raises(RecipeError, match=r"replaces the whole folder, but .* also holds stray\. Move what you want"):
        export(bundle, "onnx")
    assert (first.folder / "stray").read_text() == "mine"
    with pytest.raises(RecipeError, match=r"holds something else\. Choose another folder"):
        export(bundle, "onnx", out=bundle)
    (bundle.parent / "notes").mkdir()
    (bundle.parent / "notes" / "a.txt").write_text("mine")
    with pytest.raises(RecipeError, match="holds something else"):
        export(bundle, "onnx", out=bundle.parent / "notes")


def test_code_without_a_hash_is_not_taken_over(bundle: Path, tmp_path: Path) -> None:
    """Neither a further module, nor what a link leads to where there are no hashes."""
    (tmp_path / "secret.py").write_text("secret")
    (bundle / "more.py").write_text("more")
    (bundle / "link.py").symlink_to(tmp_path / "secret.py")
    form = export(bundle, "onnx")
    assert {path.name for path in form.folder.glob("*.py")} == {"predict.py", "inputs.py", "pictures.py"}
    (bundle / MANIFEST).unlink()
    assert not (export(bundle, "onnx").folder / "link.py").exists()


@pytest.mark.parametrize("count", [1, 5])
def test_a_batch_may_stay_open(bundle: Path, count: int, digits: Any) -> None:
    """Then the file takes any number of inputs, with the same outputs."""
    form = export(bundle, "onnx", dynamic_batch=True, space=OneChoice())
    model = onnx.load(form.folder / "model.onnx")
    assert not model.graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value")
    images = digits.preparation.prepared((digits.test.images[:count],))
    expected = outputs_of(bundle / "model.onnx", images)
    np.testing.assert_allclose(outputs_of(form.folder / "model.onnx", images), expected, rtol=1e-4, atol=1e-5)
    assert form.folder.name.endswith("-any")
    assert "any number of inputs" in (form.folder / CARD).read_text(encoding="utf-8")


def test_a_form_may_have_another_batch_and_no_items(bundle: Path, digits: Any, tmp_path: Path) -> None:
    """``predict.py`` fills up the last batch. The card does not speak of items that are not there."""
    form = export(bundle, "onnx", batch=3, samples=False, space=OneChoice(), out=tmp_path / "away")
    assert form.folder == tmp_path / "away"
    assert not (form.folder / SAMPLES).exists()
    assert "--no-samples" not in (form.folder / CARD).read_text(encoding="utf-8")
    np.save(tmp_path / "images.npy", digits.test.images[:4])
    command = [sys.executable, "-B", str(form.folder / "predict.py"), str(tmp_path / "images.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert len(done.stdout.splitlines()) == 4
    with pytest.raises(JournalError, match=r"has no model\.safetensors\. Name the winner's own bundle"):
        export(form.folder, "onnx", batch=7)


def test_a_model_in_int8_is_given_away_as_it_was_tested(bundle: Path, tmp_path: Path) -> None:
    """Without its items, and without a word on the precision: no other conversion takes its place."""
    form = export(bundle, "onnx", precision="int8")
    about = json.loads((form.folder / ABOUT).read_text())
    (bundle / about["deployed"]).parent.mkdir()
    tested = (form.folder / about["deployed"]).read_bytes() + b"\x32\x00"  # another, but as good
    (bundle / about["deployed"]).write_bytes(tested)
    own = {"target": f"pi/{form.target}", "deployed": about["deployed"]}
    (bundle / ABOUT).write_text(json.dumps({**json.loads((bundle / ABOUT).read_text()), **own}))
    write_manifest(bundle, "1.0")
    given = export(bundle, "onnx", samples=False, out=tmp_path / "given")
    assert given.target == form.target
    assert (given.folder / about["deployed"]).read_bytes() == tested
    assert json.loads((given.folder / ABOUT).read_text())["deployed"] == about["deployed"]
    assert not (given.folder / SAMPLES).exists()
    assert not changes_in(given.folder).unsound
    assert export(bundle, "onnx", precision="fp32", out=tmp_path / "exact").agreement.is_exact


def test_threads_of_a_board_are_no_limit_here(bundle: Path, tmp_path: Path) -> None:
    """A winner of a board with more cores is measured here with those that there are."""
    about = json.loads((bundle / ABOUT).read_text())
    (bundle / ABOUT).write_text(json.dumps({**about, "target": "pi/onnxruntime-cpu:fp32:batch=1:threads=999"}))
    write_manifest(bundle, "1.0")
    assert export(bundle, "onnx").target.threads == usable_cores()


def test_int8_is_not_calibrated_on_noise(bundle: Path) -> None:
    """A bundle without items is refused, and other precisions are not."""
    assert Source(Bundle.read(bundle)).calibration()
    (bundle / SAMPLES).unlink()
    with pytest.raises(JournalError, match=r"has no samples\.safetensors\. Name a bundle with it"):
        Source(Bundle.read(bundle)).calibration()
    write_manifest(bundle, "1.0")
    assert export(bundle, "onnx").agreement.on == "random inputs"


def test_a_form_that_differs_in_fp32_is_not_written(bundle: Path) -> None:
    """In int8 the drop is shown."""
    bench = ActingBench(bend=lambda outputs: outputs[:, ::-1].copy())
    with pytest.raises(
        CandidateError, match=r"must be within 0\.0001 of torch, but onnx differs .*Nothing was written"
    ):
        export(bundle, "onnx", nas.Effort(bench=bench))
    assert not bundle.with_name(f"{bundle.name}-onnx-fp32").exists()
    form = export(bundle, "onnx", nas.Effort(bench=bench), precision="int8")
    assert not form.agreement.decides_alike
    assert "fewer than the 99 % that int8 should reach" in repr(form)
    assert "fewer than the 99 % that int8 should reach" in (form.folder / CARD).read_text(encoding="utf-8")
    assert form.to_json()["parity"]["sound"] is False


def test_a_form_is_tested_on_the_test_items_of_its_run(bundle: Path, digits: Any) -> None:
    """Its description and card tell its own error, beside that of the winner; a wrong form shows."""
    bench = ActingBench(bend=lambda outputs: np.roll(outputs, 1, axis=1))
    form = export(bundle, "onnx", nas.Effort(bench=bench), precision="int8")
    inputs = digits.preparation.prepared((digits.test.images,))
    answers = np.roll(outputs_of(bundle / "model.onnx", inputs), 1, axis=1).argmax(axis=1)
    error = float((answers != digits.test.labels).mean())
    about, own = (json.loads((each / ABOUT).read_text()) for each in (form.folder, bundle))
    assert about["test_error"] == pytest.approx(error)
    assert about["form"]["winner_test_error"] == own["test_error"] < error
    assert form.test.scores["error"].value == about["test_error"]
    assert f"Test accuracy: {100 * (1 - error):.2f} % (" in repr(form)
    card = (form.folder / CARD).read_text(encoding="utf-8")
    assert f"## Results on {len(digits.test)} test images" in card
    assert f"The accuracy of the winner itself is {100 * (1 - own['test_error']):.2f} %" in card
    assert form.to_json()["test"]["winner_test_error"] == own["test_error"]


def test_a_form_of_a_form_that_cannot_be_tested_has_no_error_of_the_other(bundle: Path, tmp_path: Path) -> None:
    """Neither of the first form, which was tested, nor of the winner as if it were its own."""
    first = export(bundle, "onnx")
    assert first.test.scores
    copy = Path(shutil.copytree(first.folder, tmp_path / "away"))
    second = export(copy, "onnx", precision="int8", out=tmp_path / "second")
    about = json.loads((second.folder / ABOUT).read_text())
    assert "test_error" not in about
    assert about["form"]["winner_test_error"] == json.loads((bundle / ABOUT).read_text())["test_error"]
    card = (second.folder / CARD).read_text(encoding="utf-8")
    assert "Nothing was tested." in card
    assert "They are of" not in card


@pytest.mark.parametrize("away", [True, False])
def test_a_form_without_its_test_items_says_so(bundle: Path, tmp_path: Path, away: bool) -> None:
    """As of a copy of a bundle, and of a run whose data have changed since."""
    if away:
        copy = Path(shutil.copytree(bundle, tmp_path / "copies" / bundle.name))
        why = "the bundle lies in no run, which would name the data"
    else:
        copy = bundle
        about = json.loads((copy / ABOUT).read_text())
        (copy / ABOUT).write_text(json.dumps({**about, "facts": {**about["facts"], "fingerprint": "another"}}))
        write_manifest(copy, "1.0")
        why = "digits is not as it was, or is not divided as it was, when the winner was tested"
    form = export(copy, "onnx")
    assert f"Not tested on the test items: {why}." in repr(form)
    about = json.loads((form.folder / ABOUT).read_text())
    assert about["test_error"] == json.loads((copy / ABOUT).read_text())["test_error"]
    card = (form.folder / CARD).read_text(encoding="utf-8")
    assert f"This form was not scored by the test items, because {why}." in card


def test_the_wishes_that_tested_a_winner_test_its_forms(bundle: Path) -> None:
    """A space that is made again knows no weights, and so not how these want pictures. The bundle tells it."""
    about = json.loads((bundle / ABOUT).read_text())
    assert about["wishes"] == {}
    wished = {"mean": [0.25], "std": [0.5]}
    task = load_data("digits").prepared_for(wished)
    of_data = {"preparation": recorded(task.preparation), "facts": {**about["facts"], "fingerprint": task.fingerprint}}
    (bundle / ABOUT).write_text(json.dumps({**about, **of_data, "wishes": wished}))
    assert _task_of(Source(Bundle.read(bundle)), NullProgress()).fingerprint == task.fingerprint
    (bundle / ABOUT).write_text(json.dumps({**about, **of_data}))
    with pytest.raises(UntestedError, match="is not as it was"):
        _task_of(Source(Bundle.read(bundle)), NullProgress())


def test_what_is_killed_or_refused_leaves_nothing(bundle: Path) -> None:
    """Neither the half of a bundle nor a folder for it."""
    before = sorted(bundle.parent.iterdir())
    refusing = nas.Effort(bench=ActingBench(refusal=CandidateError("measure", "it refuses")))
    with pytest.raises(CandidateError, match="it refuses"):
        export(bundle, "onnx", refusing)

    class Killed(ActingBench):
        def outputs(self, *given: Any) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(bundle, "onnx", nas.Effort(bench=Killed()))
    assert sorted(bundle.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("form", "more", "says"),
    [
        ("onx", {}, "Did you mean 'onnx'"),
        ("onnx", {"precision": "int9"}, "Did you mean 'int8'"),
        ("torch", {"dynamic_batch": True}, r"for the formats onnx and openvino, but got torch.*--batch"),
        ("onnx", {"batch": 5}, r"passed as an object: pass space=… in Python, or name its class with --space"),
    ],
)
def test_what_cannot_be_exported_is_told(bundle: Path, form: str, more: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        export(bundle, form, **more)


def test_a_missing_runtime_says_what_to_install(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An extra, or an environment of its own."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        TargetError, match=r"install the extra openvino of nas: pip install --editable '\.\[openvino\]'"
    ):
        export(bundle, "openvino", QUICK)
    monkeypatch.undo()
    monkeypatch.setenv("NAS_HOME", str(bundle / "no-home"))
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for form, runtime in (("executorch", "executorch-xnnpack"), ("litert", "litert-cpu")):
        with pytest.raises(TargetError, match=f"run: nas target install {runtime}"):
            export(bundle, form, QUICK)


def test_code_that_a_bundle_names_runs_only_if_it_is_trusted(bundle: Path) -> None:
    """A form that needs no torch module needs no trust either."""
    about = json.loads((bundle / ABOUT).read_text())
    (bundle / ABOUT).write_text(json.dumps({**about, "space": {"name": "quick_runs:OneChoice"}}))
    with pytest.raises(
        JournalError, match=r"architecture\.json of .* is missing or has changed; see: nas bundle verify"
    ):
        export(bundle, "onnx")
    write_manifest(bundle, "1.0")
    assert export(bundle, "onnx").folder.is_dir()
    with pytest.raises(RecipeError, match=r"names code of its own, quick_runs:OneChoice.*say so with --trust"):
        export(bundle, "onnx", batch=2)
    assert export(bundle, "onnx", batch=2, trust=True).target.batch == 2
    assert export(bundle, "onnx", batch=4, space="quick_runs:OneChoice").target.batch == 4
    hidden = {"name": "shrunk", "parent": "harmful:make"}
    (bundle / ABOUT).write_text(json.dumps({**about, "space": hidden}))
    write_manifest(bundle, "1.0")
    with pytest.raises(RecipeError, match=r"names code of its own, harmful:make, which.*say so with --trust"):
        export(bundle, "onnx", batch=2)


@pytest.mark.slow
@pytest.mark.timeout(900)  # on a busy machine, torch takes minutes for a program
@pytest.mark.parametrize(
    ("form", "more"),
    [("onnx", {"precision": "int8"}), ("openvino", {"dynamic_batch": True}), ("openvino", {"precision": "int8"}),
     ("torch", {})],
)  # fmt: skip
def test_forms_run_on_their_own_runtimes(bundle: Path, form: str, more: dict[str, Any], digits: Any) -> None:
    """Each is made, compared with torch and measured on this machine, and predicts as the winner does."""
    if form == "openvino":
        pytest.importorskip("openvino")
    precision = more.get("precision", "fp32")
    for target in {Target("onnxruntime-cpu"), target_of(form_named(form), precision, batch=1, threads=1)}:
        known_profile(target)
    found = export(bundle, form, QUICK, space=OneChoice(), **more)
    if precision == "fp32":
        assert found.agreement.is_sound(precision)
    else:  # this winner is wrong in three of ten cases, so some of its decisions are a toss-up
        assert found.agreement.equal > 0.9
        assert ("fewer than the 99 %" in found.agreement.text(precision)) == (found.agreement.equal < 0.99)
    assert found.measurements["latency_ms"].conditions["executed_precision"].startswith(precision)
    images = digits.test.images[:3]
    differences = np.abs(Bundle.read(found.folder).predict(images) - Bundle.read(bundle).predict(images))
    assert differences.max() <= 1e-3 if precision == "fp32" else differences.mean() <= 0.05
