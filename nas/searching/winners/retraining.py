"""Retraining the chosen architectures, and making a measured and tested winner of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, final

import torch

from nas.errors import CandidateError
from nas.hardware.runtimes.runtime import Deployed
from nas.jobs.execution import Executor
from nas.results.bundled.unfinished import weights_of
from nas.results.run_folder import retrain_text
from nas.searching.fitting import Fitting
from nas.searching.measuring_pace import FINISHING
from nas.searching.selection import choose_winners, judged, only_misses, simple_winners
from nas.searching.state import RunState
from nas.searching.trained_weights import TrainedWeights
from nas.searching.training_work import training_work
from nas.searching.user_inputs.teachers import BEST
from nas.searching.winners.bundles import BundleMaker
from nas.searching.winners.checkpoint_folder import CheckpointFolder
from nas.searching.winners.final_measurements import FinalMeasurements
from nas.searching.winners.further_seeds import FurtherSeeds
from nas.searching.winners.luck import may_be_luck
from nas.searching.winners.misses import say_how_many, say_only_chance, say_only_misses, shortened_text
from nas.searching.winners.retraining_jobs import (
    RetrainingJobs,
    SeedOf,
    add_trained,
    search_details,
    shared_row,
    start_of,
    write_weights,
)
from nas.searching.winners.retraining_plan import RetrainingPlan, run_plan
from nas.searching.winners.teaching import (
    EarlierWeights,
    MakesTeacher,
    RetrainedTeacher,
    best_of,
    last_weights,
    quality_in_search,
)
from nas.space.architecture import Architecture
from nas.space.parts.candidate import Candidate, by_training
from nas.storage.retraining_rows import RETRAINING
from nas.storage.run_files import SUPERNET_WEIGHTS
from nas.training.optimizing import HEAD
from nas.training.supernet import SharedWeights
from nas.values.evaluation import AS_TRAINED, FITTED, PARENT, Evaluation, Failure, Stage


@final
class Retraining:
    """Retrains winners by a plan, the run's own if none is given. Each stage looks first at what the journal has."""

    def __init__(
        self,
        state: RunState,
        fitting: Fitting,
        folder: Path,
        plan: RetrainingPlan | None = None,
        weights: TrainedWeights | None = None,
    ) -> None:
        """``weights`` are those that the search trained: for winners that there is no time to retrain."""
        self._state = state
        self._weights = weights
        self._folder = folder
        self._plan = plan or run_plan(state)
        self._bundles = BundleMaker(state, fitting, folder, self._plan.folder)
        self._measurements = FinalMeasurements(state, self._bundles)
        self._seeds = FurtherSeeds(state, fitting, folder, self._plan)
        is_elsewhere = state.recipe.execution.ray_address is not None
        self._checkpoints = CheckpointFolder(folder, self._plan.number, sends=is_elsewhere)
        self._too_long: set[Architecture] = set()

    def run(self, executor: Executor) -> None:
        """Retrain, export, measure and test, until there are as many winners as asked for, or as the front has."""
        state = self._state
        wanted = self._that_fit()
        say_how_many(state, wanted)
        say_only_chance(state)
        is_said = False
        while True:  # each pass adds a row for at least one architecture of the front, or raises ``wanted``
            if not is_said and only_misses(state.beliefs):
                say_only_misses(state)
                is_said = True
            self._too_long = self._that_take_too_long()
            chosen = [*self._chosen(wanted), *self._sound_parent()]
            chosen += self._simple(chosen)
            if not self._advance(list(map(state.beliefs.candidate, dict.fromkeys(chosen))), executor):
                wanted = max(wanted, self._that_fit())
                if (self._rows("winner").keys() | self._rows("retrain").keys()).issuperset(self._chosen(wanted)):
                    break
        self._checkpoints.close()

    def make(self, architectures: Sequence[Architecture], executor: Executor) -> None:
        """Retrain, export, measure and test these architectures. One that fails gets a row that says why."""
        chosen = list(map(self._state.beliefs.candidate, architectures))
        while self._advance(chosen, executor):
            pass
        self._checkpoints.close()

    def _advance(self, chosen: Sequence[Candidate], executor: Executor) -> bool:
        """Do the next stage for the chosen architectures. Return False if nothing is left to do for them."""
        retrained, winners = self._rows("retrain"), self._rows("winner")
        untrained = [a for a in chosen if a not in retrained]
        trained = [a for a in chosen if a in retrained and not retrained[a].failed and a not in winners]
        if untrained:
            self._retrain(untrained, chosen, executor)
        elif missing := self._seeds.missing(trained):
            self._train(self._seeds.to_train(missing), chosen, executor)
            self._seeds.test(self._seeds.missing(trained))
        elif trained:
            self._finish(trained)
        return bool(untrained or trained)

    def _rows(self, stage: Stage) -> dict[Architecture, Evaluation]:
        """Return the last rows of a stage that belong to this retraining."""
        rows, number = self._state.beliefs.rows, self._plan.number
        return {row.architecture: row for row in rows if (row.stage, row.details.get(RETRAINING, 0)) == (stage, number)}

    def _sound_parent(self) -> list[Architecture]:
        """Return the parent, which people compare all others with, unless it was not evaluated or failed."""
        beliefs, parent = self._state.beliefs, self._state.beliefs.parent
        rows = [rows.get(parent) for rows in (beliefs.trainings, beliefs.retrainings, beliefs.winners) if parent]
        known = [row for row in rows if row is not None]
        return [] if parent is None or not known or any(row.failed for row in known) else [parent]

    def _chosen(self, wanted: int) -> list[Architecture]:
        """Return the winners; where there is time for one alone, a simple model goes before what may be luck."""
        chosen, simple = choose_winners(self._state.beliefs, wanted, self._too_long), self._simple_ones[:1]
        if len(chosen) != 1 or not simple or self._has_time_for([*chosen, *simple]):
            return chosen
        return simple if may_be_luck(self._state, chosen[0], simple[0]) else chosen

    def _simple(self, chosen: Sequence[Architecture]) -> list[Architecture]:
        """Return the simple models that are winners beside ``chosen``: those retrained, and others if there is time."""
        taken: list[Architecture] = []
        for each in self._simple_ones:
            if each in self._state.beliefs.retrainings or self._has_time_for([*chosen, *taken, each]):
                taken.append(each)
        return taken

    @property
    def _simple_ones(self) -> list[Architecture]:
        """The simple models that may come beside the chosen ones: where all are heads, only the best by folds."""
        return simple_winners(self._state.beliefs)[: 1 if self._state.recipe.training.tune == HEAD else None]

    def _that_fit(self) -> int:
        """Return the most winners for which there is time beside the simple models and the parent, one at least.

        Simple models need no retraining. Winners that are made already count.
        """
        beliefs, wanted = self._state.beliefs, self._state.recipe.retraining.winners
        self._too_long, beside = self._that_take_too_long(), [*self._simple_ones, *self._sound_parent()]
        for count in range(len(choose_winners(beliefs, wanted, self._too_long)), 1, -1):
            if self._has_time_for([*beside, *choose_winners(beliefs, count, self._too_long)]):
                return count
        return 1

    def _that_take_too_long(self) -> set[Architecture]:
        """Return the candidates that cannot become winners in the time left.

        If those that meet the limits all take too long, or all candidates where none does, one is made anyhow: the best
        of those that are late by little, or else the quickest.
        """
        state, beliefs = self._state, self._state.beliefs
        if not state.schedule.is_timed:
            return set()
        made = (*beliefs.retrainings.values(), *beliefs.winners.values())
        failed = {row.architecture for row in made if row.failed}
        alive = [row.architecture for row in beliefs.candidates if row.architecture not in failed]
        new = [each for each in alive if each not in beliefs.retrainings]
        kept = set(filter(self._has_weights, new))
        too_long = {each for each in new if not state.schedule.has_time_to_make([each], kept)}
        meeting = [each for each in alive if beliefs.surely_meets(each)] or alive
        if meeting and too_long.issuperset(meeting):
            kept = set(filter(self._has_weights, meeting))
            late = [each for each in meeting if state.schedule.has_time_to_make([each], kept, late=True)]
            quickest = min(meeting, key=lambda each: (state.durations.making_s([each], kept), each.id))
            errors = {row.architecture: row.values.get(beliefs.quality.name, math.inf) for row in judged(beliefs)}
            too_long.remove(min(late, key=errors.__getitem__) if late else quickest)
        return too_long

    def _has_time_for(self, architectures: Sequence[Architecture]) -> bool:
        """Return True if those among these that are no winners yet can become some in the time left.

        Of those with weights of the search, the best is tuned on: that is worth more than one winner more.
        """
        missing = [each for each in dict.fromkeys(architectures) if each not in self._state.beliefs.winners]
        kept = list(filter(self._has_weights, missing))
        in_epochs = [each for each in kept if self._takes_epochs(self._state.beliefs.candidate(each))]
        tuned_on = [best_of(self._state.beliefs, in_epochs)] if in_epochs else []
        left = [each for each in kept if each not in tuned_on]
        return not missing or self._state.schedule.has_time_to_make(missing, left, tuned_on)

    def _has_weights(self, architecture: Architecture) -> bool:
        """Return True if the weights are kept that the search trained."""
        return self._weights is not None and self._weights.has(self._state.beliefs.candidate(architecture).trained)

    # Training

    def _retrain(self, untrained: Sequence[Candidate], chosen: Sequence[Candidate], executor: Executor) -> None:
        """Retrain each network once. Candidates that differ in their precision alone share it.

        If the best winner teaches, it is trained first and alone; the others follow in the next pass.
        """
        candidate = self._state.beliefs.candidate
        retrained = {candidate(a).trained: row for a, row in self._rows("retrain").items()}
        groups = by_training(untrained)
        for trained in [each for each in groups if each in retrained]:
            self._share(retrained[trained], groups.pop(trained))
        best = self._best(chosen)
        if best is not None and best.trained in groups:
            groups = {best.trained: groups[best.trained]}
        if self._weights is not None and not self._plan.training:
            for trained in [each for each, group in groups.items() if self._weights.are_of_all(group[0])]:
                self._take(groups.pop(trained), start_of(self._state, trained))
        left, tuned_on = self._not_retrained(groups, chosen)
        for trained in left:
            self._take(groups.pop(trained), {"start": AS_TRAINED})
        seeds = [SeedOf(tuple(group), tuned_on=trained in tuned_on) for trained, group in groups.items()]
        self._train(seeds, chosen, executor)

    def _not_retrained(
        self, groups: Mapping[Architecture, Sequence[Candidate]], chosen: Sequence[Candidate]
    ) -> tuple[list[Architecture], list[Architecture]]:
        """Return the networks that keep the weights of the search, and those that are only tuned on from there.

        The best ones are retrained, as far as time allows, and the next best are tuned on. The rest of the time is for
        those that can only be retrained, and for finishing all.
        """
        state, beliefs = self._state, self._state.beliefs
        missing = [each for each in chosen if each not in beliefs.winners]
        left = {trained: each for trained, each in groups.items() if self._has_weights(trained)}
        best_first = sorted(left, key=lambda trained: quality_in_search(beliefs, groups[trained][0]))
        for trained in best_first:
            others = [each for name, group in left.items() if name != trained for each in group]
            if state.schedule.has_time_to_make(missing, others):
                del left[trained]
        tuned_on: list[Architecture] = []
        for trained in [each for each in best_first if each in left and self._takes_epochs(groups[each][0])]:
            further = [each for name in (*tuned_on, trained) for each in groups[name]]
            others = [each for name in left.keys() - {*tuned_on, trained} for each in groups[name]]
            if state.schedule.has_time_to_make(missing, others, further):
                tuned_on.append(trained)
        if left:
            as_they_are = [each for each in left if each not in tuned_on]
            later = retrain_text(self._folder, state.recipe)
            state.progress.say(shortened_text(groups, tuned_on, as_they_are, later))
        return [each for each in left if each not in tuned_on], tuned_on

    def _takes_epochs(self, candidate: Candidate) -> bool:
        """Return True for a candidate that can be tuned on: neither fitted in one pass, nor the parent as it is."""
        row = self._state.beliefs.trainings.get(candidate)
        return row is not None and row.is_in_epochs and candidate != self._state.beliefs.parent

    def _take(self, candidates: Sequence[Candidate], start: Mapping[str, str]) -> None:
        """Let candidates have the weights that the search trained, with what rows say of where these began."""
        assert self._weights is not None
        first = candidates[0]
        told = search_details(self._state, first)
        kept = {key: told[key] for key in ("epochs", "subset", "seconds", FITTED) if key in told}
        details = {**kept, **start, "folder": self._plan.bundle(first)}
        weights = self._weights.path(first.trained).read_bytes()
        add_trained(self._state, self._folder, self._plan, candidates, details, weights)

    def _share(self, row: Evaluation, candidates: Sequence[Candidate]) -> None:
        """Let candidates have the weights, or the failure, of a retraining that has ended."""
        for candidate in candidates:
            shared = replace(row, architecture=candidate)
            if not row.failed:
                weights = weights_of(self._folder / row.details["folder"]).read_bytes()
                shared = shared_row(row, candidate, self._plan)
                write_weights(self._folder / shared.details["folder"], weights)
            self._state.add(shared)

    def _best(self, chosen: Sequence[Candidate]) -> Candidate | None:
        """Return the winner that teaches the others, which is the best whose training did not fail; None for none."""
        if self._plan.teacher != BEST:
            return None
        rows = self._rows("retrain")
        sound = [a for a in chosen if a not in rows or not rows[a].failed]
        return best_of(self._state.beliefs, sound) if sound else None

    def _train(self, seeds: Sequence[SeedOf], chosen: Sequence[Candidate], executor: Executor) -> None:
        """Train networks by seeds: those that learn from no teacher, and then those that do."""
        best = self._best(chosen)
        apart = [seed for seed in seeds if best is not None and seed.trained == best.trained]
        others = [seed for seed in seeds if seed not in apart]
        if apart:
            self._run(apart, "", None, executor)
        if others and best is not None:
            teacher = self._retrained_teacher(best)
            self._run(others, teacher.name, teacher, executor)
        elif others:
            self._run(others, self._plan.teacher or "", self._plan.named, executor)

    def _retrained_teacher(self, best: Candidate) -> RetrainedTeacher:
        resolved = self._state.resolved
        row = self._rows("retrain")[best]
        weights = weights_of(self._folder / row.details["folder"]).read_bytes()
        return RetrainedTeacher(resolved.space, best.trained, resolved.task.signature, weights)

    def _run(self, seeds: Sequence[SeedOf], name: str, teacher: MakesTeacher | None, executor: Executor) -> None:
        state, plan = self._state, self._plan
        state.progress.stage("retraining winners", len(seeds))
        work = training_work(
            state,
            plan.settings(state.recipe),
            self._start(seeds),
            longer=plan.epochs / state.recipe.training.epochs,
            teacher=teacher,
            source=plan.source,
        )
        source = RetrainingJobs(state, self._folder, plan, self._checkpoints, seeds, name)
        executor.run(work, source, time_limit_s=plan.time_limit_s)
        state.progress.close()
        state.note_cost()

    def _start(self, seeds: Sequence[SeedOf]) -> Callable[[Architecture, torch.nn.Module], None] | None:
        """Return what loads the weights to begin with; None for those that the space draws or loads."""
        tuned_on = [seed.trained for seed in seeds if seed.tuned_on]
        if tuned_on:
            assert self._weights is not None, "what is tuned on has the weights of the search"
            return EarlierWeights({each.id: self._weights.path(each).read_bytes() for each in tuned_on})
        if self._plan.start == "supernet":
            content = (self._folder / SUPERNET_WEIGHTS).read_bytes()
            return SharedWeights(self._state.resolved.space, content, self._state.inheritance)
        if self._plan.start == "winner":
            first = [seed.candidates[0] for seed in seeds]
            return last_weights(self._state.beliefs, self._folder, first, self._plan.number)
        return None

    # Finishing

    def _finish(self, candidates: Sequence[Candidate]) -> None:
        """Export and deploy all, measure them together, test each once, and add their rows."""
        state = self._state
        began_s = state.spent_s
        parities: dict[Candidate, float] = {}
        deployed: dict[Candidate, Deployed] = {}
        elsewhere: dict[str, dict[Candidate, Deployed]] = {on: {} for on in state.recipe.named_targets if on}
        state.progress.stage("exporting winners", len(candidates))
        for candidate in candidates:
            try:
                parities[candidate] = self._bundles.export(candidate)
                model, others = self._bundles.deploy(candidate), self._bundles.deploy_elsewhere(candidate)
                deployed[candidate] = model
                for on, other in others.items():
                    elsewhere[on][candidate] = other
            except CandidateError as error:
                failure = Failure(error.kind, error.reason)
                state.add(Evaluation("winner", candidate, details=self._plan.details, failure=failure))
            state.progress.advance()
        outcomes = self._measurements.take(deployed, elsewhere)
        state.progress.stage("testing winners", len(deployed))
        retrained = self._rows("retrain")
        for candidate, model in deployed.items():
            plain = self._measurements.plain_of(candidate)
            row = self._bundles.winner(
                candidate,
                {"": model, **{on: models[candidate] for on, models in elsewhere.items()}},
                outcomes[candidate],
                parities[candidate],
                plain,
                partial(self._details, candidate, retrained[candidate]),
            )
            before = state.beliefs.winners.get(candidate)
            if not row.failed and not row.predicted and before is not None:
                row = replace(row, predicted=before.predicted)
            state.add(row)
            state.progress.advance()
        state.sessions.clear()
        state.progress.close()
        state.durations.pace.learn(FINISHING, len(candidates), state.spent_s - began_s)

    def _details(self, candidate: Candidate, retrained: Evaluation, error: float | None) -> dict[str, Any]:
        """Return what the row of a winner says of its training, its further seeds and its layers.

        One that failed has no error.
        """
        if error is None:
            return self._plan.details
        kept = ("epochs", "start", "teacher", "items", RETRAINING)
        training = {key: retrained.details[key] for key in kept if key in retrained.details}
        layers = self._measurements.layer_details(candidate)
        parent = {PARENT: True} if candidate == self._state.beliefs.parent else {}
        return {**training, **parent, **self._seeds.details(candidate, error), **layers}
