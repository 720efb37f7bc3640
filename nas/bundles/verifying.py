"""Checking a bundle: its files by hashes, its models and its script against torch, its measurements by new ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from nas.bundles.agreement import Agreement, agreement_of
from nas.bundles.changes import differences, is_same_place, moved_between
from nas.bundles.exporting import DEPLOYED
from nas.bundles.finding import find_bundle
from nas.bundles.measuring import MEASURE_SUSTAINED, Effort, deployed_model, measured_on, sustained_s_of
from nas.bundles.predicting import PREDICT, check_answers, modules_of, predicted
from nas.bundles.sources import ONNX, GivenSpace, Source, outputs_in_torch
from nas.bundles.verified import FILES, MEASURED_AGAIN, Check, State, VerifiedBundle
from nas.errors import CandidateError, JournalError, NasError, RecipeError, TargetError
from nas.formats.onnx_session import outputs_of
from nas.hardware.bench import Bench
from nas.progress import Progress
from nas.reports.progress_display import ProgressChoice, chosen_progress
from nas.results.bundle import ABOUT, FORM, WEIGHTS, Bundle
from nas.results.bundled.manifest import COMPILED, MANIFEST, Changes, changes_in, has_manifest
from nas.results.bundled.samples import SAMPLES
from nas.results.bundled.writing import read_measured
from nas.signals import stopping
from nas.values.measurement import Measurement
from nas.values.metric import MEASURED_METRICS, SUSTAINED, on_target
from nas.values.target import Target

MOST_NAMED = 8
TIME = "latency_ms"


@stopping()
def verify_bundle(
    what: Path | str,
    *,
    measure: bool = True,
    targets: Iterable[str] | None = None,
    run: Path | str | None = None,
    runs: Path | str = "runs",
    space: GivenSpace | None = None,
    trust: bool = False,
    least_agreement: float | None = None,
    effort: Effort | None = None,
    progress: ProgressChoice = "auto",
) -> VerifiedBundle:
    """Check a bundle and return what was found: its hashes, its models against torch, and its values by new ones.

    The models of all targets of its run are checked, each where it runs. A device that cannot be reached is told.
    Its ``predict.py`` runs on the items that the bundle keeps. A file that is missing or changed is named, and what
    depends on it is not checked. Bundles of version 0.8 and before have no hashes; the result says what cannot be
    checked of them.

    Args:
        what: a bundle's folder, or the id of a winner.
        measure: measure the deployed models again.
        targets: which of the run's targets are checked, as texts or by the names of further ones; by default all.
        run: the run in which an id is looked for; by default all in ``runs``.
        runs: the folder of runs.
        space: the space, or its name, where the search was given one as an object; its module is compared too.
        trust: let code run that the bundle names as ``module:Name``, and a ``predict.py`` of another version.
        least_agreement: the share of decisions that a model in fp16, bf16 or int8 must have in common with torch. By
            default 0.95, 0.9 and 0.75.
        effort: how precisely it is measured.
        progress: as in ``search``.

    Raises:
        JournalError: there is no such bundle, or its description cannot be read.
        RecipeError: ``least_agreement`` is no share, or the run did not measure a target.
    """
    if least_agreement is not None and not 0 <= least_agreement <= 1:
        raise RecipeError(f"least_agreement must be a share, from 0 to 1, but got {least_agreement}.")
    files, found = _files_first(Path(what)) if run is None else ([], None)
    if found is not None and found.touches(ABOUT):
        files.append(Check("all else", "unchecked", f"{ABOUT} must be whole for that."))
        return VerifiedBundle(Path(what), tuple(files))
    source = Source(find_bundle(what, run, Path(runs)), space, trust=trust)
    with closing(chosen_progress(progress)) as shown:
        return _Verifying(source, effort or Effort(), shown, least_agreement, trust=trust).run(measure, targets)


@dataclass(frozen=True)
class _Place:
    """A target of a bundle by its name, which is empty for the first, and the file that runs there."""

    on: str
    target: Target
    file: str

    def named(self, what: str) -> str:
        """Return what a check of this target is called."""
        return f"{what} on {self.on}" if self.on else what


@final
class _Verifying:
    def __init__(
        self, source: Source, effort: Effort, progress: Progress, least_agreement: float | None, *, trust: bool
    ) -> None:
        self._source = source
        self._bundle: Bundle = source.bundle
        self._effort = effort
        self._progress = progress
        self._least_agreement = least_agreement
        self._trust = trust
        self._checks, found = _files_first(source.bundle.folder)
        self._changes = found or Changes(0)

    def run(self, measure: bool, names: Iterable[str] | None) -> VerifiedBundle:
        """Check all, and the models of all targets or of those with these names, each in its own runtime."""
        places = _places_in(self._bundle, names)
        self._check_weights()
        self._check_file_of_onnx(places)
        self._check_predicting()
        then = read_measured(self._bundle.folder)
        if measure and not then:
            self._add("measurements", "unchecked", "the bundle has none that can be read.")
        now: dict[str, Measurement] = {}
        since: list[str] = []
        for place in places:
            found, known = self._checked_on(place, measure), measured_on(then, place.on)
            now |= {on_target(place.on, name): each for name, each in found.items()}
            since += [f"{place.on and f'on {place.on}, '}{text}" for text in differences(known, found)]
        return VerifiedBundle(self._bundle.folder, tuple(self._checks), moved_between(then, now), tuple(since))

    def _checked_on(self, place: _Place, measure: bool) -> dict[str, Measurement]:
        """Check and measure the model of one target. A device that cannot be reached is told once, and hides none."""
        bench = self._opened(place)
        if bench is None or not self._check_deployed(bench, place):
            return {}
        return self._measured(bench, place) if measure else {}

    def _add(self, what: str, state: State, text: str) -> None:
        self._checks.append(Check(what, state, text))

    def _check_weights(self) -> None:
        """Compare the module that the space builds, with the bundle's weights, with torch's recorded outputs."""
        what = f"{WEIGHTS} in torch"
        if FORM in self._bundle.about or self._is_unsound(what, WEIGHTS, SAMPLES):
            return
        with self._told(what):
            if self._source.samples is None:
                self._add(what, "unchecked", f"the bundle has no {SAMPLES} with real items and torch's outputs.")
                return
            reference = self._source.reference
            outputs = outputs_in_torch(self._source.module, reference.inputs)
            self._judge(what, reference.agreement(outputs, self._bundle.answers), "fp32")

    def _check_file_of_onnx(self, places: Sequence[_Place]) -> None:
        """Compare ``model.onnx``, which ``predict.py`` runs, with torch."""
        is_deployed = any(place.file == ONNX and not place.on for place in places)
        if is_deployed or not (self._bundle.folder / ONNX).is_file():
            return  # the deployed form is checked on its own
        self._compare(ONNX, lambda inputs: outputs_of(self._bundle.folder / ONNX, inputs), "fp32", ONNX)

    def _check_predicting(self) -> None:
        """Run ``predict.py`` on the kept items, and compare its outputs with torch's recorded ones."""
        with self._told(PREDICT):
            if self._is_unsound(PREDICT, SAMPLES, DEPLOYED, *(each.name for each in modules_of(self._bundle))):
                return
            samples, about = self._source.samples, self._bundle.about
            if samples is None:
                self._add(PREDICT, "unchecked", f"the bundle has no {SAMPLES} with real items and torch's outputs.")
                return
            check_answers(self._bundle, samples)
            if samples.is_prepared:
                self._add(PREDICT, "unchecked", "the kept items are prepared already, so it cannot prepare them.")
                return
            outputs = predicted(self._bundle, samples, trust=self._trust)
            precision = Target.parse(about["target"]).precision if about["deployed"].endswith(".onnx") else "fp32"
            found = agreement_of(outputs, samples.outputs, self._bundle.answers, samples.targets)
            self._judge(PREDICT, found, precision)

    def _opened(self, place: _Place) -> Bench | None:
        try:
            self._source.check_runtimes([place.target])
            recorded = measured_on(read_measured(self._bundle.folder), place.on)
            sustained = [recorded] if self._effort.sustained else []
            return self._effort.open(place.target, self._progress, sustained_s_of(sustained))
        except NasError as error:
            self._add(place.named(place.file), "unchecked", str(error))
            return None

    def _check_deployed(self, bench: Bench, place: _Place) -> bool:
        """Compare the model that was measured with torch, in its own runtime. Return False if that is not there."""
        what, model = place.named(place.file), deployed_model(self._bundle, place.file, place.on)
        if model is None:
            self._add(what, "failed", "it is missing, or lies outside the bundle.")
            return False
        return self._compare(what, lambda inputs: bench.outputs(model, inputs), place.target.precision, place.file)

    def _compare(self, what: str, outputs: Any, precision: str, file: str) -> bool:
        """Compare outputs with those of torch. Return False if the device cannot compute any now."""
        if self._is_unsound(what, file, SAMPLES):
            return True
        with self._told(what):
            reference = self._source.reference
            if reference.name == file:
                self._add(what, "unchecked", "neither real items nor torch's module are there to compare with.")
                return True
            try:
                found = outputs(reference.inputs)
            except TargetError as error:
                self._add(what, "unchecked", str(error))
                return False
            self._judge(what, reference.agreement(found, self._bundle.answers), precision)
        return True

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Add a check that cannot be made: it fails if a model or a file of the bundle is the reason."""
        try:
            yield
        except CandidateError as error:
            self._add(what, "failed", error.reason)
        except JournalError as error:
            self._add(what, "failed", str(error))
        except NasError as error:
            self._add(what, "unchecked", str(error))

    def _judge(self, what: str, found: Agreement, precision: str) -> None:
        is_damaged = found.is_damaged(precision, self._least_agreement)
        advice = ""
        if is_damaged and precision != "fp32":
            advice = " That is damage, and not rounding. If it is known and meant, pass --least-agreement."
        self._add(what, "failed" if is_damaged else "sound", f"{found.text(precision)}.{advice}")

    def _measured(self, bench: Bench, place: _Place) -> dict[str, Measurement]:
        what, model = place.named(MEASURED_AGAIN), deployed_model(self._bundle, place.file, place.on)
        if model is None or self._is_unsound(what, place.file):
            return {}
        then = measured_on(read_measured(self._bundle.folder), place.on)
        try:
            (outcome,) = self._effort.measure(bench, [model], self._progress, _again(then, self._effort))
        except TargetError as error:  # the device, not the bundle; the other checks were made
            self._add(what, "unchecked", str(error))
            return {}
        if isinstance(outcome, CandidateError):
            self._add(what, "failed", outcome.reason)
            return {}
        text = ""
        if TIME in then and TIME in outcome:
            here = is_same_place(then[TIME], outcome[TIME])
            text = f", on {'the same processor and runtime' if here else 'another processor or runtime than then'}"
        left_out = SUSTAINED in then and not self._effort.sustained
        text += (
            f". Its sustained latency was left out, which takes minutes. {MEASURE_SUSTAINED[:-1]}" if left_out else ""
        )
        self._add(what, "sound", f"{len(outcome)} metric{'s' * (len(outcome) != 1)}{text}.")
        return outcome

    def _is_unsound(self, what: str, *files: str) -> bool:
        """Return True, and say so, if a file that a check needs is missing or changed."""
        unsound = [file for file in files if self._changes.touches(file)]
        if unsound:
            self._add(what, "unchecked", f"{' and '.join(unsound)} must be whole for that.")
        return bool(unsound)


def _files_first(folder: Path) -> tuple[list[Check], Changes | None]:
    """Compare the files of a bundle with their hashes, and name each that differs; None where that is impossible."""
    if not has_manifest(folder):
        why = f"there is no {MANIFEST}: bundles of version 0.8 and before have no hashes."
        return [Check(FILES, "unchecked", why)], None
    try:
        found = changes_in(folder)
    except NasError as error:
        return [Check(FILES, "failed", str(error))], None
    texts = [f"{name} is missing." for name in found.missing]
    texts += [f"{name} has changed: {why}." for name, why in (found.changed or {}).items()]
    if found.added:
        more = f" and {len(found.added) - MOST_NAMED} more" if len(found.added) > MOST_NAMED else ""
        texts.append(f"the manifest does not have {', '.join(found.added[:MOST_NAMED])}{more}.")
    checks = [Check(FILES, "failed", text) for text in texts]
    checks = checks or [Check(FILES, "sound", f"all {found.files} are as their SHA-256 hashes say.")]
    if found.compiled:
        why = "no hash covers it, and Python may run it in the place of predict.py. Remove it unless you made it."
        checks.append(Check(COMPILED, "unchecked", why))
    return checks, found


def _again(then: Mapping[str, Measurement], effort: Effort) -> list[str]:
    """Return what is measured again: what was measured, without the size of the weights, which deploying counts."""
    known = [name for name in effort.again(then) if name in MEASURED_METRICS]
    return [name for name in known if name != "weight_bytes"] or [TIME]


def _places_in(bundle: Bundle, names: Iterable[str] | None) -> list[_Place]:
    """Return the targets of a bundle: all, or those that are meant by ``names``, each once.

    Raises:
        RecipeError: a name is neither a target of the bundle nor the name of one.
    """
    known = {on: _Place(on, target, file) for on, (target, file) in bundle.targets.items()}
    found = list(known) if names is None else [_name_of(text, bundle) for text in names]
    return [known[on] for on in dict.fromkeys(found)]


def _name_of(text: str, bundle: Bundle) -> str:
    """Return the name of the target that a text means; empty for the first one."""
    if text in bundle.further_targets:
        return text
    asked = Target.parse(text)
    for on, (target, _) in bundle.targets.items():
        if asked == target:
            return on
    told = " and ".join(str(target) for target, _ in bundle.targets.values())
    raise RecipeError(
        f"a bundle is verified on targets that its run measured, {told}, but got {asked}. "
        f"For another one, export the bundle, or say: nas drift RUN --target {text}."
    )
