"""Retraining the chosen architectures, and making a measured and tested winner of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

from nas.errors import CandidateError
from nas.hardware.runtimes.runtime import Deployed
from nas.jobs.execution import Executor, Job, Report
from nas.progress import duration_text
from nas.results.bundle import WEIGHTS
from nas.searching.evaluating.proxies import SUPERNET
from nas.searching.evaluating.training_work import training_work
from nas.searching.fitting import Fitting
from nas.searching.planning.schedule import FINISHING
from nas.searching.selection import choose_winners, only_misses
from nas.searching.state import RunState
from nas.searching.winners.bundles import WINNERS, BundleMaker
from nas.searching.winners.final_measurements import FinalMeasurements
from nas.searching.winners.misses import say_only_misses
from nas.space.architecture import Architecture
from nas.space.parts.parents import parents_space
from nas.storage.journal import write_aside
from nas.training.settings import training_seed, training_settings
from nas.training.supernet import SharedWeights
from nas.values.evaluation import TRAINED_AS, Evaluation, Failure


@final
class Retraining:
    """The last stages of a run. Each looks first at what the journal has."""

    def __init__(self, state: RunState, fitting: Fitting, folder: Path) -> None:
        self._state = state
        self._folder = folder
        self._bundles = BundleMaker(state, fitting, folder)
        self._measurements = FinalMeasurements(state, self._bundles)

    def run(self, executor: Executor) -> None:
        """Retrain, export, measure and test, until there are as many winners as asked for, or as the front has."""
        state = self._state
        wanted = self._that_fit()
        is_said = False
        while True:  # each pass adds a row for at least one architecture of the front
            if not is_said and only_misses(state.beliefs):
                say_only_misses(state)
                is_said = True
            chosen = [*choose_winners(state.beliefs, wanted), *self._parent()]
            chosen = list(dict.fromkeys(chosen))
            untrained = [a for a in chosen if a not in state.beliefs.retrainings]
            unfinished = [a for a in chosen if a not in state.beliefs.winners]
            if untrained:
                self._retrain(untrained, executor)
            elif unfinished:
                self._finish(unfinished)
            else:
                return

    def _parent(self) -> list[Architecture]:
        """Return the parent of the space, which people compare all others with, unless it failed."""
        beliefs = self._state.beliefs
        space = parents_space(beliefs.space)
        parent = None if space is None else beliefs.parts.completed(space.parent)
        rows = [rows.get(parent) for rows in (beliefs.trainings, beliefs.retrainings, beliefs.winners) if parent]
        known = [row for row in rows if row is not None]
        return [] if parent is None or not known or any(row.failed for row in known) else [parent]

    def _that_fit(self) -> int:
        """Return the most winners for which there is time, and say so if these are fewer than asked for."""
        state = self._state
        fitting = state.schedule.winners_that_fit()
        possible = len(choose_winners(state.beliefs, state.recipe.retraining.winners))
        if fitting < possible:
            left = duration_text(max(0.0, state.schedule.left_s))
            state.progress.say(f"{fitting} of {possible} winners fit into the {left} that are left of the search time")
        return fitting

    def _retrain(self, architectures: Sequence[Architecture], executor: Executor) -> None:
        """Retrain each network once. Architectures that differ in their precision alone share it."""
        state = self._state
        groups = state.beliefs.training_parts.grouped(architectures)
        retrained = {state.beliefs.training_parts.of(a): row for a, row in state.beliefs.retrainings.items()}
        known = [group for group in groups if state.beliefs.training_parts.of(group[0]) in retrained]
        for group in known:
            self._share(retrained[state.beliefs.training_parts.of(group[0])], group)
        groups = [group for group in groups if group not in known]
        if groups:
            self._train(groups, executor)

    def _share(self, row: Evaluation, architectures: Sequence[Architecture]) -> None:
        """Let architectures have the weights, or the failure, of a retraining that has ended."""
        for architecture in architectures:
            shared = replace(row, architecture=architecture)
            if not row.failed:
                weights = (self._folder / row.details["folder"] / WEIGHTS).read_bytes()
                shared = shared_row(row, architecture)
                write_weights(self._folder / shared.details["folder"], weights)
            self._state.add(shared)

    def _train(self, groups: Sequence[Sequence[Architecture]], executor: Executor) -> None:
        state = self._state
        retraining = state.recipe.retraining
        state.progress.stage("retraining winners", len(groups))
        settings = training_settings(
            state.recipe,
            retraining.epochs,
            1.0,
            retraining.time_limit_s,
            keep_weights=True,
            use_validation=True,
        )
        start = None
        if retraining.start == "supernet":
            start = SharedWeights(state.resolved.space, (self._folder / SUPERNET).read_bytes())
        work = training_work(state, settings, start, longer=retraining.epochs / state.recipe.training.epochs)
        source = _Retrainings(state, self._folder, groups)
        executor.run(work, source, time_limit_s=retraining.time_limit_s)
        state.progress.close()
        state.note_cost()

    def _finish(self, architectures: Sequence[Architecture]) -> None:
        """Export and deploy all, measure them together, test each once, and add their rows."""
        state = self._state
        began_s = state.spent_s
        parities: dict[Architecture, float] = {}
        deployed: dict[Architecture, Deployed] = {}
        state.progress.stage("exporting winners", len(architectures))
        for architecture in architectures:
            try:
                parities[architecture] = self._bundles.export(architecture)
                deployed[architecture] = self._bundles.deploy(architecture)
            except CandidateError as error:
                state.add(Evaluation("winner", architecture, failure=Failure(error.kind, error.reason)))
            state.progress.advance()
        outcomes = self._measurements.take(deployed)
        state.progress.stage("testing winners", len(deployed))
        for architecture, model in deployed.items():
            plain = self._measurements.plain_of(architecture)
            state.add(self._bundles.winner(architecture, model, outcomes[architecture], parities[architecture], plain))
            state.progress.advance()
        state.progress.close()
        state.schedule.learn(FINISHING, len(architectures), state.spent_s - began_s)


@final
class _Retrainings:
    """The jobs of retraining. The weights reach the disk before the row that says so."""

    def __init__(self, state: RunState, folder: Path, groups: Sequence[Sequence[Architecture]]) -> None:
        """Each of ``groups`` shares one retraining."""
        self._state = state
        self._folder = folder
        self._waiting = [group[0] for group in groups]
        self._groups = {group[0].id: group for group in groups}

    def next_job(self) -> Job | None:
        if not self._waiting:
            return None
        architecture = self._waiting.pop(0)
        return {
            "id": architecture.id,
            "architecture": dict(self._state.beliefs.training_parts.of(architecture)),
            "seed": training_seed(self._state.recipe, self._state.beliefs.training_parts.of(architecture)),
        }

    def on_report(self, job: Job, report: Report) -> bool:
        return True

    def on_restart(self, job: Job) -> None:
        """Do nothing: only the end of a retraining is kept."""

    def on_end(self, job: Job, report: Report) -> None:
        first, *others = self._groups[job["id"]]
        epochs = report["epoch"] if report.get("trained", True) else 0
        details = {"epochs": epochs, "seconds": report["seconds"], "folder": f"{WINNERS}/{first.id}"}
        start = self._state.recipe.retraining.start
        details |= {} if start == "scratch" else {"start": start}
        row = Evaluation("retrain", first, details=details)
        rows = [row, *(shared_row(row, other) for other in others)]
        for each in rows:
            write_weights(self._folder / each.details["folder"], report["weights"])
        self._state.add(*rows)
        self._state.progress.advance()

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        failed = Failure(failure.kind, failure.reason)
        self._state.add(*(Evaluation("retrain", each, failure=failed) for each in self._groups[job["id"]]))
        self._state.progress.advance()


def shared_row(row: Evaluation, architecture: Architecture) -> Evaluation:
    """Return the row of an architecture that shares the retraining of ``row``, with a folder of its own."""
    details = {**row.details, "folder": f"{WINNERS}/{architecture.id}", TRAINED_AS: row.architecture.id}
    return Evaluation("retrain", architecture, details=details)


def write_weights(folder: Path, weights: bytes) -> None:
    """Write the weights of a winner into its folder, which is made if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    write_aside(folder / WEIGHTS, weights)
