"""Retraining the chosen architectures, and making a measured and tested winner of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np

from nas.errors import CandidateError, TargetError
from nas.hardware.bench import Outcome
from nas.hardware.runtimes.runtime import Deployed
from nas.jobs.execution import Executor, Job, Report
from nas.progress import duration_text
from nas.searching.evaluating.proxies import SUPERNET
from nas.searching.evaluating.training_work import training_work
from nas.searching.fitting import Fitting
from nas.searching.planning.schedule import FINISHING
from nas.searching.selection import choose_winners, only_misses
from nas.searching.state import RunState
from nas.searching.winners.bundles import WINNERS, BundleMaker
from nas.searching.winners.misses import say_only_misses
from nas.space.architecture import Architecture
from nas.space.parts.parents import parents_space
from nas.storage.journal import write_aside
from nas.training.settings import training_seed, training_settings
from nas.training.supernet import SharedWeights
from nas.values.evaluation import Evaluation, Failure

ENERGY = "energy_mj"
FINAL_METRICS = ("latency_ms", "peak_memory_mib", "model_bytes", "weight_bytes", ENERGY)
"""Every winner is measured by these, as far as the target allows, and by the metrics that were asked for."""


@final
class Retraining:
    """The last stages of a run. Each looks first at what the journal has."""

    def __init__(self, state: RunState, fitting: Fitting, folder: Path) -> None:
        self._state = state
        self._folder = folder
        self._bundles = BundleMaker(state, fitting, folder)

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
        state = self._state
        retraining = state.recipe.retraining
        state.progress.stage("retraining winners", len(architectures))
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
        source = _Retrainings(state, self._folder, list(architectures))
        executor.run(work, source, time_limit_s=retraining.time_limit_s)
        state.progress.close()
        state.note_cost()

    def _finish(self, architectures: Sequence[Architecture]) -> None:
        """Export and deploy all, measure them together, test each once, and add their rows."""
        state = self._state
        bench, began_s = state.resolved.bench, self._state.spent_s
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
        state.progress.stage("sessions of measuring winners", len(deployed) * bench.rounds)
        rng = np.random.default_rng((state.recipe.seed, 2))
        state.check_bench()
        possible = (name for name in FINAL_METRICS if name != ENERGY and bench.can_measure(name))
        metrics = tuple(dict.fromkeys((*possible, *state.beliefs.measured_metrics)))
        outcomes = bench.measure(list(deployed.values()), metrics, rng, state.progress.advance)
        if ENERGY not in metrics:
            outcomes = self._with_energy(list(deployed.values()), outcomes, rng)
        state.progress.stage("testing winners", len(deployed))
        for (architecture, model), outcome in zip(deployed.items(), outcomes, strict=True):
            state.add(self._bundles.winner(architecture, model, outcome, parities[architecture]))
            state.progress.advance()
        state.progress.close()
        state.schedule.learn(FINISHING, len(architectures), state.spent_s - began_s)

    def _with_energy(
        self, models: Sequence[Deployed], outcomes: Sequence[Outcome], rng: np.random.Generator
    ) -> list[Outcome]:
        """Return the outcomes with energies. Energy is optional: a winner without a meter reading is still a winner."""
        say, bench, found = self._state.progress.say, self._state.resolved.bench, list(outcomes)
        sound = [place for place, outcome in enumerate(found) if not isinstance(outcome, CandidateError)]
        try:
            if not bench.can_measure(ENERGY):
                return found
            energies = bench.measure([models[place] for place in sound], [ENERGY], rng)
        except TargetError as error:
            say(f"winners have no energy, because it could not be measured: {error}")
            return found
        for place, energy in zip(sound, energies, strict=True):
            known = found[place]
            assert not isinstance(known, CandidateError)
            if isinstance(energy, CandidateError):
                say(f"a winner has no energy, because it could not be measured: {energy.reason}")
            else:
                found[place] = {**known, **energy}
        return found


@final
class _Retrainings:
    """The jobs of retraining. The weights reach the disk before the row that says so."""

    def __init__(self, state: RunState, folder: Path, waiting: list[Architecture]) -> None:
        self._state = state
        self._folder = folder
        self._waiting = waiting

    def next_job(self) -> Job | None:
        if not self._waiting:
            return None
        architecture = self._waiting.pop(0)
        return {
            "id": architecture.id,
            "architecture": dict(architecture),
            "seed": training_seed(self._state.recipe, architecture),
        }

    def on_report(self, job: Job, report: Report) -> bool:
        return True

    def on_restart(self, job: Job) -> None:
        """Do nothing: only the end of a retraining is kept."""

    def on_end(self, job: Job, report: Report) -> None:
        folder = self._folder / WINNERS / job["id"]
        folder.mkdir(parents=True, exist_ok=True)
        write_aside(folder / "model.safetensors", report["weights"])
        epochs = report["epoch"] if report.get("trained", True) else 0
        details = {"epochs": epochs, "seconds": report["seconds"], "folder": f"{WINNERS}/{job['id']}"}
        start = self._state.recipe.retraining.start
        details |= {} if start == "scratch" else {"start": start}
        self._state.add(Evaluation("retrain", Architecture(job["architecture"]), details=details))
        self._state.progress.advance()

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        failed = Failure(failure.kind, failure.reason)
        self._state.add(Evaluation("retrain", Architecture(job["architecture"]), failure=failed))
        self._state.progress.advance()
