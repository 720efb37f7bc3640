"""Measuring the winners of a run again: which of them moved, by how much, and which now break their limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, final

from nas.bundles.changes import Moved, change_text, differences, moved_between
from nas.bundles.finding import read_bundle
from nas.bundles.measuring import MEASURE_SUSTAINED, Effort, deployed_model, measured_on, sustained_s_of
from nas.bundles.sources import GivenSpace, Source
from nas.errors import CandidateError, JournalError, NasError, RecipeError, TargetError
from nas.hardware.bench import Bench
from nas.hardware.runtimes.runtime import Deployed, ExportedModel
from nas.progress import Progress, command_text
from nas.reports.progress_display import ProgressChoice, chosen_progress
from nas.results.bundle import Bundle
from nas.results.bundled.manifest import changes_in, has_manifest
from nas.results.run import Run
from nas.results.run_folder import read_run, run_folder_of
from nas.results.winner import Winner
from nas.signals import stopping
from nas.storage.scratch import temporary_folder
from nas.values.measurement import Measurement
from nas.values.metric import SUSTAINED, bare_name, on_target, target_in
from nas.values.objective import Limit, limit_text
from nas.values.target import Target

COUNTED = "weight_bytes"
"""Deploying counts the bytes of weights, which do not change afterwards."""
MUCH_SLOWER = 0.1
"""A machine that is slower or faster than recorded by more than this share is told."""


@final
@dataclass(frozen=True, repr=False)
class DriftedWinner:
    """A winner that was measured again.

    Attributes:
        id: the id of its architecture.
        moved: by metric, the measurement of the run and the new one. Further targets stand before their metrics.
        breaks: the limits that it now breaks, and met in the run.
        still_breaks: the limits that it broke in the run, and still does.
        mended: the limits that it broke in the run, and now meets.
        failure: the reason why it could not be measured, or not on a further target; empty if it was.
    """

    id: str
    moved: Mapping[str, Moved] = field(default_factory=dict)
    breaks: tuple[Limit, ...] = ()
    still_breaks: tuple[Limit, ...] = ()
    mended: tuple[Limit, ...] = ()
    failure: str = ""

    @property
    def has_moved(self) -> bool:
        """True if one of its values differs by more than the joint 95 % interval."""
        return any(each.is_sure for each in self.moved.values())

    def __repr__(self) -> str:
        if self.failure and not self.moved:
            return f"{self.id}: not measured: {self.failure}"
        texts = [each.text for each in self.moved.values() if each.is_sure] or ["as before"]
        texts += [] if self.has_moved else [each.text for each in list(self.moved.values())[:1]]
        texts += [f"now BREAKS {limit_text(each)}{self._at(each)}" for each in self.breaks]
        texts += [f"still breaks {limit_text(each)}{self._at(each)}" for each in self.still_breaks]
        texts += [f"now meets {limit_text(each)}" for each in self.mended]
        texts += [f"not measured {self.failure}"] if self.failure else []
        return f"{self.id}: {'; '.join(texts)}"

    def joined(self, other: DriftedWinner) -> DriftedWinner:
        """Return the same winner with what was found on another target too."""
        return DriftedWinner(
            self.id,
            {**self.moved, **other.moved},
            (*self.breaks, *other.breaks),
            (*self.still_breaks, *other.still_breaks),
            (*self.mended, *other.mended),
            "; ".join(filter(None, (self.failure, other.failure))),
        )

    def _at(self, limit: Limit) -> str:
        """Return the bound of the measurement that breaks a limit."""
        upper = self.moved[limit.metric.name].now.interval.upper
        return f" (up to {limit.metric.format_apart(upper, limit.value)[0]})"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "id": self.id,
            "moved": self.has_moved,
            "metrics": {name: each.to_json() for name, each in self.moved.items()},
            "breaks": [str(each) for each in self.breaks],
            "still_breaks": [str(each) for each in self.still_breaks],
            "now_meets": [str(each) for each in self.mended],
            "failure": self.failure or None,
        }


@final
@dataclass(frozen=True, repr=False)
class Drift:
    """The winners of a run, measured again together.

    Attributes:
        run_folder: the folder of the run.
        target: what was measured on, as text.
        winners: each winner, in the order of the front.
        circumstances: what is another than in the run, such as the version of the runtime.
        notes: sentences about all winners, such as that they moved together.
        recorded_on: where the run measured them, if that is another target; otherwise empty.

    Example::

        drift = nas.drift("runs/digits-mobilenet")
        broken = [winner.id for winner in drift.winners if winner.breaks]
    """

    run_folder: Path
    target: str
    winners: tuple[DriftedWinner, ...]
    circumstances: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    recorded_on: tuple[str, ...] = ()

    @property
    def breaks(self) -> tuple[DriftedWinner, ...]:
        """The winners that now break a limit that they met."""
        return tuple(each for each in self.winners if each.breaks)

    @property
    def failed(self) -> tuple[DriftedWinner, ...]:
        """The winners that could not be measured."""
        return tuple(each for each in self.winners if each.failure)

    def __repr__(self) -> str:
        moved = sum(each.has_moved for each in self.winners)
        measured = len(self.winners) - len(self.failed)
        elsewhere = " and ".join(self.recorded_on)
        verb = f"differ from what they are on {elsewhere}" if elsewhere else "moved"
        title = f"{self.run_folder} on {self.target}: {moved} of {measured} winners {verb}"
        title += f", {len(self.breaks)} now break a limit" if self.breaks else ", no further limit is broken"
        lines = [f"{title}.", *(f"  {each!r}" for each in self.winners)]
        since = "unlike there" if elsewhere else "since then"
        lines += [f"  {since}, {text}" for text in self.circumstances]
        return "\n".join([*lines, *(f"  {text}" for text in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "run_folder": str(self.run_folder),
            "target": self.target,
            "winners": [each.to_json() for each in self.winners],
            "circumstances": list(self.circumstances),
            "notes": list(self.notes),
            "recorded_on": list(self.recorded_on),
        }


@stopping()
def drift(
    folder: Path | str,
    *,
    target: str | None = None,
    space: GivenSpace | None = None,
    trust: bool = False,
    effort: Effort | None = None,
    progress: ProgressChoice = "auto",
) -> Drift:
    """Measure the winners of a run again, together, and return which moved and which now break their limits.

    Two values are told apart by their joint 95 % interval. Latencies are corrected by the reference model, then and
    now, so a machine that is slower for a while does not count as drift; a note tells it. The run does not change.

    Args:
        folder: the folder of a run.
        target: another target; by default all that each winner was measured on. Models are deployed for another one
            from their bundles.
        space: the space, or its name, where the run was given one as an object and the target needs torch programs.
        trust: let code run that the run names as ``module:Name``.
        effort: how precisely they are measured.
        progress: as in ``search``.

    Raises:
        RecipeError: the run has no winners with models, or the target is unknown.
        TargetError: the target cannot be measured here.
        JournalError: the folder is no run that can be read.
    """
    folder = run_folder_of(folder)
    run = read_run(folder)
    winners = [each for each in run.front if each.bundle is not None]
    if not winners:
        what = "takes its values from a table" if run.table is not None else "has none yet"
        raise RecipeError(f"nas drift needs winners with models, but {folder} {what}.")
    shown = chosen_progress(progress)
    try:
        work = _Drifting(run, effort or Effort(), shown, space, trust)
        return work.result(winners, None if target is None else Target.parse(target))
    finally:
        shown.close()


@final
class _Drifting:
    def __init__(self, run: Run, effort: Effort, progress: Progress, space: GivenSpace | None, trust: bool) -> None:
        self._run = run
        self._effort = effort
        self._progress = progress
        self._space = space
        self._trust = trust

    def result(self, winners: Sequence[Winner], target: Target | None) -> Drift:
        """Measure winners, those of one target together."""
        groups: dict[tuple[str, Target], list[tuple[Winner, Bundle]]] = {}
        elsewhere: list[str] = []
        found: dict[str, DriftedWinner] = {}
        for winner in winners:
            try:
                bundle = _sound_bundle(winner)
                own = Target.parse(bundle.about["target"])
                if target is None:
                    Source(bundle, trust=self._trust).check_runtimes(each for each, _ in bundle.targets.values())
            except NasError as error:
                found[winner.architecture.id] = DriftedWinner(winner.architecture.id, failure=str(error))
                continue
            on = _name_on(bundle, target)
            groups.setdefault((on, target or own), []).append((winner, bundle))
            for name, (further, _) in bundle.further_targets.items() if target is None else ():
                groups.setdefault((name, further), []).append((winner, bundle))
            if target not in (None, own) and not on:
                elsewhere.append(str(own))
        for (on, each), members in sorted(groups.items(), key=lambda group: bool(group[0][0])):
            for key, drifted in self._measured_or_why(on, each, members, is_asked=target is not None).items():
                found[key] = found[key].joined(drifted) if key in found else drifted
        order = [found[winner.architecture.id] for winner in winners]
        places = " and ".join(dict.fromkeys(str(each) for _, each in groups)) or str(target or self._run.target)
        moved = [(name, each) for winner in order for name, each in winner.moved.items()]
        changes = [
            f"on {target_in(name)}, {text}" if target_in(name) and target is None else text
            for name, each in moved
            for text in differences({each.then.metric: each.then}, {each.now.metric: each.now})
        ]
        notes = (*(() if elsewhere else _together(order)), *_machine(order), *self._left_out(winners))
        recorded_on = tuple(dict.fromkeys(elsewhere))
        return Drift(self._run.run_folder, places, tuple(order), tuple(dict.fromkeys(changes)), notes, recorded_on)

    def _measured_or_why(
        self, on: str, target: Target, members: Sequence[tuple[Winner, Bundle]], *, is_asked: bool
    ) -> dict[str, DriftedWinner]:
        """Measure on one target. One that nobody named, and that cannot measure now, hides no other.

        Raises:
            TargetError: the run's first target, or the one that was named, cannot be measured.
        """
        try:
            found = self._measured(on, target, members)
        except TargetError as error:
            if is_asked or not on:
                raise
            ids = [winner.architecture.id for winner, _ in members]
            found = {key: DriftedWinner(key, failure=str(error)) for key in ids}
        if is_asked or not on:
            return found
        return {
            key: replace(each, failure=f"on {on}: {each.failure}") if each.failure else each
            for key, each in found.items()
        }

    def _left_out(self, winners: Sequence[Winner]) -> Iterator[str]:
        """Yield a sentence about sustained latencies, which take minutes each, if they are not measured again."""
        names = {name for winner in winners for name in winner.measurements if bare_name(name) == SUSTAINED}
        if names and not self._effort.sustained:
            limits = [limit_text(each) for each in self._run.limits if each.metric.name in names]
            unchecked = f" Not checked: {' and '.join(limits)}." if limits else ""
            yield f"Sustained latencies were left out, because they take minutes each.{unchecked} {MEASURE_SUSTAINED}"

    def _measured(self, on: str, target: Target, members: Sequence[tuple[Winner, Bundle]]) -> dict[str, DriftedWinner]:
        found: dict[str, DriftedWinner] = {}
        sources = [Source(bundle, self._space, trust=self._trust) for _, bundle in members]
        recorded = {winner.architecture.id: measured_on(winner.measurements, on) for winner, _ in members}
        bench = self._effort.open(target, self._progress, sustained_s_of(recorded.values()))
        metrics = self._effort.again(name for each in recorded.values() for name in each if name != COUNTED)
        with temporary_folder("drift") as scratch:
            models: dict[str, Deployed] = {}
            for source, (winner, bundle) in zip(sources, members, strict=True):
                key = winner.architecture.id
                try:
                    models[key] = self._model(bench, on, target, source, bundle, scratch / key)
                except NasError as error:
                    found[key] = DriftedWinner(key, failure=str(error))
            if not models:
                return found
            outcomes = self._effort.measure(bench, list(models.values()), self._progress, metrics)
        by_id = {winner.architecture.id: winner for winner, _ in members}
        for key, outcome in zip(models, outcomes, strict=True):
            if isinstance(outcome, CandidateError):
                found[key] = DriftedWinner(key, failure=outcome.reason)
            else:
                found[key] = self._judged(by_id[key], recorded[key], outcome, on)
        return found

    def _model(self, bench: Bench, on: str, target: Target, source: Source, bundle: Bundle, scratch: Path) -> Deployed:
        """Return the file that the run measured, or the model deployed for another target."""
        if on or str(target) == bundle.about["target"]:
            _, file = bundle.targets[on]
            model = deployed_model(bundle, file, on)
            if model is None:
                raise JournalError(f"{file} is missing in {bundle.folder}.")
            return model
        scratch.mkdir()
        exported = source.exported(bench.model_format, target.batch, scratch)
        given = ExportedModel(exported, source.calibration, classifies=source.classifies)
        (deployed,) = bench.deploy([given], [scratch / "deployed"])
        if isinstance(deployed, CandidateError):
            raise deployed
        return deployed

    def _judged(
        self, winner: Winner, then: Mapping[str, Measurement], now: Mapping[str, Measurement], on: str
    ) -> DriftedWinner:
        """Compare with what the run measured on the target of a name, and with its limits there."""
        moved = {
            on_target(on, name): replace(each, metric=each.metric.on_target(on))
            for name, each in moved_between(then, now).items()
        }
        checked = [limit for limit in self._run.limits if limit.metric.name in moved]
        broke = winner.broken(checked)
        breaks = [limit for limit in checked if not limit.holds(moved[limit.metric.name].now.interval.upper)]
        return DriftedWinner(
            winner.architecture.id,
            moved,
            breaks=tuple(limit for limit in breaks if limit not in broke),
            still_breaks=tuple(limit for limit in breaks if limit in broke),
            mended=tuple(limit for limit in broke if limit not in breaks),
        )


def _name_on(bundle: Bundle, target: Target | None) -> str:
    """Return the name of the run's further target that is meant; empty for any other target."""
    return next((on for on, (each, _) in bundle.further_targets.items() if each == target), "")


def _sound_bundle(winner: Winner) -> Bundle:
    """Return a winner's bundle. Raises JournalError if it, or its deployed model, is missing or has changed."""
    assert winner.bundle is not None
    bundle = read_bundle(winner.bundle)
    if has_manifest(bundle.folder):
        changes = changes_in(bundle.folder)
        for file in filter(changes.touches, [file for _, file in bundle.targets.values()]):
            raise JournalError(
                f"{file} must be the file that was measured, but it is missing or has changed; "
                f"see: {command_text(['nas', 'bundle', 'verify', str(bundle.folder)])}."
            )
    return bundle


def _together(winners: Sequence[DriftedWinner]) -> Iterator[str]:
    """Yield a sentence for each metric by which all winners moved in the same direction."""
    measured = [each for each in winners if each.moved]
    for name in dict.fromkeys(name for each in measured for name in each.moved):
        changes = [each.moved[name] for each in measured if name in each.moved]
        ratios = [each.ratio for each in changes if each.ratio is not None and each.is_sure]
        if len(changes) < 2 or len(ratios) < len(changes) or len({each.value > 1 for each in ratios}) > 1:
            continue
        typical = sorted(ratios, key=lambda each: each.value)[len(ratios) // 2]
        yield (
            f"All winners moved the same way in {changes[0].metric.title.lower()}, typically by "
            f"{change_text(typical)}: look for one cause, such as the device, its clock or a version."
        )


def _machine(winners: Sequence[DriftedWinner]) -> Iterator[str]:
    """Yield a sentence for each machine that is slower or faster now than its recorded reference speed."""
    names = dict.fromkeys(name for each in winners for name in each.moved if bare_name(name) == "latency_ms")
    for name in names:
        drifts = [each.moved[name].now.drift for each in winners if name in each.moved]
        if abs(median(drifts) - 1) <= MUCH_SLOWER:
            continue
        share = 100 * abs(median(drifts) - 1)
        word = "slower" if median(drifts) > 1 else "faster"
        what = f"The machine of {target_in(name)}" if target_in(name) else "The machine"
        yield (
            f"{what} is {share:.0f} % {word} at present than when its reference speed was recorded. Latencies "
            "are corrected for that; models take as much longer or shorter until it is over."
        )
