"""Exporting a winner in another form, as a bundle of its own: made, compared with torch, tested, and measured."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, final

from nas.bundles.agreement import TOLERANCE, Agreement
from nas.bundles.finding import find_bundle
from nas.bundles.forms import Form, check_open_batch, form_named, target_of
from nas.bundles.measuring import Effort, deployed_model
from nas.bundles.predicting import modules_of
from nas.bundles.sources import ONNX, GivenSpace, Source, same_for_any_batch
from nas.bundles.testing import FormTest, test_of_form
from nas.errors import CandidateError, JournalError, RecipeError
from nas.hardware.machine import usable_cores
from nas.hardware.runtimes.runtime import Deployed, ExportedModel
from nas.progress import Progress, command_text
from nas.reports.progress_display import ProgressChoice, chosen_progress
from nas.results.bundle import ABOUT, FORM, Bundle
from nas.results.bundled.manifest import changes_in, has_manifest
from nas.results.bundled.samples import SAMPLES
from nas.results.bundled.unfinished import made_aside
from nas.results.bundled.writing import read_measured, write_about
from nas.signals import stopping
from nas.storage.scratch import temporary_folder
from nas.values.evaluation import ELSEWHERE
from nas.values.measurement import Measurement
from nas.values.metric import METRICS
from nas.values.target import Target

DEPLOYED = "deployed"


@final
@dataclass(frozen=True, repr=False)
class ExportedForm:
    """A winner in another form, in a bundle of its own.

    Attributes:
        folder: the bundle.
        form: the name of the format, such as ``onnx``.
        target: what it was measured on.
        agreement: how far its outputs and decisions agree with those of the torch module.
        measurements: by metric, what was measured of it.
        source: by metric, the measurements of the bundle that it was made from.
        test: its scores on the test items, or why these could not score it.
        opens_batch: True if it takes any number of inputs at once.

    Example::

        form = nas.export_bundle("runs/digits/winners/0123456789ab", "openvino", precision="int8")
        print(form)
    """

    folder: Path
    form: str
    target: Target
    agreement: Agreement
    measurements: Mapping[str, Measurement]
    source: Mapping[str, Measurement]
    test: FormTest
    opens_batch: bool = False

    def __repr__(self) -> str:
        batch = "a batch of any size" if self.opens_batch else f"a batch of {self.target.batch}"
        lines = [f"{self.form}, {self.target.precision}, for {batch}: {self.folder}"]
        lines.append(f"Parity: {self.agreement.text(self.target.precision)}.")
        lines.append(self.test.text)
        for name, found in self.measurements.items():
            if name in METRICS:
                before = self.source.get(name)
                form = METRICS[name].format
                was = f"; the winner's own has {form(before.median)} on {before.target}" if before else ""
                lines.append(f"{METRICS[name].title}: {found.text}{was}.")
        doubts = dict.fromkeys(flag for found in self.measurements.values() for flag in found.flags)
        return "\n".join([*lines, *(f"Doubt: {doubt}." for doubt in doubts)])

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "bundle": str(self.folder),
            "format": self.form,
            "target": str(self.target),
            "opens_batch": self.opens_batch,
            "parity": {**self.agreement.to_json(), "sound": self.agreement.is_sound(self.target.precision)},
            "test": self.test.to_json(),
            "measured": {name: found.to_json() for name, found in self.measurements.items()},
        }


@stopping()
def export_bundle(
    what: Path | str,
    form: str,
    *,
    precision: str | None = None,
    batch: int | None = None,
    dynamic_batch: bool = False,
    threads: int | None = None,
    run: Path | str | None = None,
    runs: Path | str = "runs",
    out: Path | str | None = None,
    samples: bool = True,
    space: GivenSpace | None = None,
    trust: bool = False,
    effort: Effort | None = None,
    progress: ProgressChoice = "auto",
) -> ExportedForm:
    """Export a winner in another form, compare it with torch on real inputs, measure it, and return what was found.

    It is also tested on the test items of the run in which the winner lies, where the run's data can be loaded.
    The form lies in a bundle of its own, which appears whole or not at all. The same call makes it again.

    Args:
        what: a bundle's folder, or the id of a winner.
        form: the format of a runtime, such as ``onnx`` or ``openvino``; an unknown name lists all.
        precision: one that the form's runtime offers, such as ``int8``, which is calibrated on items in the bundle. By
            default that of the winner, where its own runtime runs the form; its very model is taken then. Else fp32.
        batch: the number of inputs at once; by default that of the bundle.
        dynamic_batch: leave the batch open, which ONNX and OpenVINO can. It is measured for ``batch`` inputs.
        threads: the threads that it is measured with; by default those of the bundle, as far as they are cores here.
        run: the run in which an id is looked for; by default all in ``runs``.
        runs: the folder of runs.
        out: the folder of the new bundle; by default beside the winner's.
        samples: keep the items of the data in the new bundle, by which it can be checked elsewhere.
        space: the space, or its name, where the search was given one as an object.
        trust: let code run that the bundle names as ``module:Name``.
        effort: how precisely it is measured.
        progress: as in ``search``.

    Raises:
        RecipeError: an unknown format or precision, an open batch for a form without one, or a space that is not known.
        TargetError: the form's runtime is not here; the message says what to install.
        CandidateError: the form cannot express the model, or its fp32 outputs differ from torch's.
        JournalError: there is no such bundle, a file of it is missing or changed, or the new one cannot be written.
    """
    source = Source(find_bundle(what, run, Path(runs)), space, trust=trust)
    check_whole(source.bundle)
    wanted, before = form_named(form), Target.parse(source.bundle.about["target"])
    if dynamic_batch:
        check_open_batch(wanted)
    size = batch or int(source.bundle.about["batch"])
    if precision is None:
        precision = before.precision if wanted.runtime == before.runtime else "fp32"
    target = target_of(wanted, precision, size, threads or min(before.threads, usable_cores()))
    folder = _place(source.bundle, wanted, target, dynamic_batch, out)
    with closing(chosen_progress(progress)) as shown:
        made = _Export(source, wanted, target, dynamic_batch, effort or Effort(), shown)
        agreement, test, measured = made.write_to(folder.absolute(), samples)
    own = read_measured(source.bundle.folder)
    return ExportedForm(folder, form, target, agreement, measured, own, test, dynamic_batch)


@final
class _Export:
    """Makes one form."""

    def __init__(
        self, source: Source, form: Form, target: Target, opens_batch: bool, effort: Effort, progress: Progress
    ) -> None:
        self._source = source
        self._form = form
        self._target = target
        self._batch = None if opens_batch else target.batch
        self._effort = effort
        self._bench = effort.open(target, progress)
        self._progress = progress

    def write_to(self, folder: Path, with_samples: bool) -> tuple[Agreement, FormTest, dict[str, Measurement]]:
        """Write the form's bundle to ``folder``. Return how far it agrees with torch, its test, and its measurements.

        Raises:
            CandidateError: the form cannot express the model, or the runtime refuses it; or outputs differ in fp32.
            JournalError: the disk refuses.
        """
        with made_aside(folder) as aside:
            deployed = self._deployed(aside)
            agreement = self._agreement(deployed)
            test = self._tested(deployed)
            (outcome,) = self._effort.measure(self._bench, [deployed], self._progress)
            if isinstance(outcome, CandidateError):
                raise outcome
            self._describe(aside, deployed, agreement, test, outcome, with_samples)
        return agreement, test, outcome

    def _deployed(self, aside: Path) -> Deployed:
        """Return the form of the model in the bundle's folder."""
        kept = self._kept(aside)
        if kept is not None:
            return kept
        self._progress.stage(f"exporting to {self._form.name}")
        with temporary_folder("export") as scratch:
            exported = self._source.exported(self._bench.model_format, self._batch, scratch)
            if self._form.name != "onnx":  # predict.py runs it
                shutil.copyfile(self._source.exported("onnx", self._batch, scratch), aside / ONNX)
            if self._batch is None:
                same_for_any_batch(exported, self._source.reference)
            model = ExportedModel(exported, self._source.calibration, classifies=self._source.classifies)
            (deployed,) = self._bench.deploy([model], [aside / DEPLOYED])
            if isinstance(deployed, CandidateError):
                raise deployed
            if deployed.path == exported:  # the runtime opens the exported model itself
                deployed = replace(deployed, path=Path(shutil.copyfile(exported, aside / exported.name)))
        if not any((aside / DEPLOYED).iterdir()):
            (aside / DEPLOYED).rmdir()
        self._progress.close()
        return deployed

    def _kept(self, aside: Path) -> Deployed | None:
        """Return a copy of the bundle's own model, if the form is the one that it was deployed in, and not in fp32.

        Another conversion would calibrate on other items, so it would be another model than the one that was tested.
        """
        bundle = self._source.bundle
        own = replace(Target.parse(bundle.about["target"]), device="", threads=self._target.threads)
        is_open = bool(bundle.about.get(FORM, {}).get("dynamic_batch"))
        if own != self._target or own.precision == "fp32" or self._batch is None or is_open:
            return None
        file = str(bundle.about["deployed"])
        found = deployed_model(bundle, file, "")
        if found is None:
            return None
        place = aside / file
        place.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if found.path.is_dir() else shutil.copyfile)(found.path, place)
        if self._form.name != "onnx":
            with temporary_folder("export") as scratch:
                shutil.copyfile(self._source.exported("onnx", self._batch, scratch), aside / ONNX)
        return replace(found, path=place)

    def _agreement(self, deployed: Deployed) -> Agreement:
        """Return how far the form agrees with torch on real inputs. Raises CandidateError if fp32 differs too much."""
        self._progress.stage("comparing with torch")
        reference = self._source.reference
        found = reference.agreement(self._bench.outputs(deployed, reference.inputs), self._source.bundle.answers)
        self._progress.close()
        if self._target.precision == "fp32" and not found.is_exact:
            raise CandidateError(
                "parity",
                f"a form in fp32 must be within {TOLERANCE:g} of {found.reference}, but {self._form.name} differs by "
                f"{found.difference:.2g} on {found.items} {found.on}. Nothing was written; choose another format.",
            )
        return found

    def _tested(self, deployed: Deployed) -> FormTest:
        """Return the form's scores on the test items, or why there are none."""
        self._progress.stage("testing")
        found = test_of_form(self._source, partial(self._bench.outputs, deployed), self._progress)
        self._progress.close()
        return found

    def _describe(
        self,
        aside: Path,
        deployed: Deployed,
        agreement: Agreement,
        test: FormTest,
        measured: Mapping[str, Measurement],
        with_samples: bool,
    ) -> None:
        """Write everything beside the form that someone needs who has only the folder."""
        bundle, about = self._source.bundle, dict(self._source.bundle.about)
        if with_samples and (bundle.folder / SAMPLES).is_file():
            shutil.copyfile(bundle.folder / SAMPLES, aside / SAMPLES)
        else:
            about.pop("samples", None)
        for path in modules_of(bundle):
            shutil.copyfile(path, aside / path.name)
        about.pop(ELSEWHERE, None)  # the files for further targets stay in the winner's own bundle
        about.setdefault("tested_on", about["target"])
        if FORM in bundle.about and not test.scores:  # the scores there are of another form
            for key in ("test_error", "test_interval_95", "test_scores_95"):
                about.pop(key, None)
        about |= {
            **test.results,
            "target": str(self._target),
            "batch": self._target.batch,
            "deployed": deployed.path.relative_to(aside).as_posix(),
            "parity": agreement.difference,
            FORM: {
                "format": self._form.name,
                "dynamic_batch": self._batch is None,
                "parity": agreement.to_json(),
                "agreement": agreement.text(self._target.precision),
                **test.told,
            },
        }
        write_about(aside, about, measured)


def check_whole(bundle: Bundle) -> None:
    """Check that no file of a bundle is missing or changed, as far as its hashes tell. Raises JournalError."""
    if not has_manifest(bundle.folder):
        return
    unsound = sorted(changes_in(bundle.folder).unsound)
    if unsound:
        raise JournalError(
            f"a form is made from a bundle that is whole, but {', '.join(unsound)} of {bundle.folder} is missing or "
            f"has changed; see: {command_text(['nas', 'bundle', 'verify', str(bundle.folder)])}."
        )


def _place(bundle: Bundle, form: Form, target: Target, opens_batch: bool, out: Path | str | None) -> Path:
    """Return the folder of the new bundle. An older export of the same winner may lie there, and nothing else.

    Raises:
        RecipeError: something else lies there, or files that are not of the export.
        JournalError: its manifest cannot be read.
    """
    parts = [str(bundle.about["id"]), form.name, target.precision]
    if opens_batch:
        parts.append("any")
    elif target.batch != bundle.about["batch"]:
        parts.append(f"batch{target.batch}")
    folder = Path(out) if out is not None else bundle.folder.resolve().parent / "-".join(parts)
    if not folder.exists():
        return folder
    if (folder / ABOUT).is_file():
        there = Bundle.read(folder).about
        if FORM in there and there.get("id") == bundle.about["id"]:
            strange = changes_in(folder).added if has_manifest(folder) else ()
            if not strange:
                return folder
            named = ", ".join(strange[:5]) + " and more" * (len(strange) > 5)
            raise RecipeError(
                f"exporting again replaces the whole folder, but {folder} also holds {named}. Move what you want to "
                "keep, or choose another folder with --out."
            )
    elif folder.is_dir() and not any(folder.iterdir()):
        return folder
    raise RecipeError(
        f"a form is written to a new folder, or replaces an earlier one of the same winner, but {folder} holds "
        "something else. Choose another folder with --out."
    )
