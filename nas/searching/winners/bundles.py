"""The bundle of each winner: exporting, deploying and testing its model, and writing its files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from safetensors.torch import load

from nas.errors import CandidateError
from nas.formats.export import export_model, export_onnx, parity
from nas.formats.onnx_session import outputs_of
from nas.hardware.bench import Outcome
from nas.hardware.runtimes.runtime import Deployed, ExportedModel
from nas.results.bundle import MADE_FOR
from nas.results.bundled.card import TUNED_PARENT
from nas.results.bundled.samples import Samples, samples_of, write_samples
from nas.results.bundled.unfinished import begin, settle, unfinished
from nas.results.bundled.writing import write_about
from nas.results.search_cost import total_cost
from nas.searching.fitting import Fitting
from nas.searching.state import RunState
from nas.searching.winners.luck import tried
from nas.space.architecture import Architecture
from nas.space.parts.candidate import Candidate
from nas.space.parts.device_parts import innermost
from nas.space.parts.own_inputs import wishes_of
from nas.space.parts.parents import parents_space
from nas.space.parts.start_weights import origin_of
from nas.space.tracing import build_checked, load_weights
from nas.storage.journal import write_aside
from nas.storage.journal_rows import Cost, RetrainingBegan
from nas.storage.retraining_rows import RETRAINING
from nas.tasks.batches import Tensors, items_at
from nas.tasks.carrying import carried_files, packages_of, recorded
from nas.tasks.corruptions import NOISE, mean_score, noise_scores
from nas.tasks.deployed.arrays import array_preparation
from nas.tasks.scores import Score, Tally, scores_of
from nas.tasks.tallies import ClassTally
from nas.tasks.task import Task, facts_of
from nas.tasks.testing import recordable, tallies_of
from nas.training.settings import robustness_of, searched_robustness
from nas.values.evaluation import ELSEWHERE, TESTED_PER_VALIDATED, TRIED, Evaluation, Failure
from nas.values.measurement import Measurement
from nas.values.metric import LARGEST_VALUE, is_result

WINNERS = "winners"
ONNX, TORCH, DEPLOYED = "model.onnx", "model.pt2", "deployed"
OF_TRAINING = ("epochs", "seconds", "start", "teacher", "items", "subset")
"""The details of a retraining that a model card tells."""
PARITY_ITEMS = 64
MOST_CLASSES = 100
"""With more classes, a journal does not count test items by label and answer."""


@final
class BundleMaker:
    """Makes a winner of each retrained architecture, in a folder of its own within the run's ``folder``.

    A bundle is made beside the others, and moved to its place once it is whole.
    """

    def __init__(self, state: RunState, fitting: Fitting, folder: Path, inside: str = WINNERS) -> None:
        """Make the bundles in the folder ``inside`` that of the run."""
        self._state = state
        self._fitting = fitting
        self._folder = folder
        self._inside = inside
        self._samples: dict[Architecture, Samples] = {}

    def export(self, architecture: Architecture) -> float:
        """Begin the bundle: write its ``model.onnx``, and the format that the runtime takes.

        Returns the largest difference between the outputs of ``model.onnx`` and of torch.
        """
        state = self._state
        task = self._task(architecture)
        folder = begin(self._bundle(architecture))
        module = build_checked(state.resolved.space, architecture, task.signature)
        load_weights(module, load((folder / "model.safetensors").read_bytes()))
        module.eval()
        batch = state.recipe.parsed_target.batch
        export_onnx(module, task.signature.inputs, batch, folder / ONNX)
        if any(bench.model_format == "torch" for bench in state.resolved.models.benches.values()):
            export_model(module, task.signature.inputs, batch, folder / TORCH, "torch")
        count = max(batch, PARITY_ITEMS // batch * batch)
        raw = items_at(task.validation, np.resize(np.arange(len(task.validation)), count)).raw
        difference = parity(module, folder / ONNX, task.prepared(raw))
        self._samples[architecture] = samples_of(task, module)
        return difference

    def deploy(self, architecture: Architecture) -> Deployed:
        """Deploy the exported model. The deployed model stays in the bundle, because it is the one that is measured."""
        folder = self._unfinished(architecture)
        shutil.rmtree(folder / DEPLOYED, ignore_errors=True)
        deployed = self.deployed_in(architecture, architecture, folder / DEPLOYED)
        if isinstance(deployed, CandidateError):
            raise deployed
        if not any((folder / DEPLOYED).iterdir()):  # the exported file itself is deployed
            (folder / DEPLOYED).rmdir()
        return deployed

    def deploy_elsewhere(self, architecture: Architecture) -> dict[str, Deployed]:
        """Return the exported model, deployed for each further target by its name. These stay in the bundle too.

        Raises:
            CandidateError: the runtime of one does not take it.
        """
        found: dict[str, Deployed] = {}
        for on in filter(None, self._state.recipe.named_targets):
            folder = self._unfinished(architecture) / f"{DEPLOYED}-on" / re.sub(r"[^A-Za-z0-9._-]", "_", on)
            shutil.rmtree(folder, ignore_errors=True)
            model = self.deployed_in(architecture, architecture, folder, on)
            if isinstance(model, CandidateError):
                raise CandidateError(model.kind, f"on {on}: {model.reason}")
            for empty in (folder, folder.parent):  # the exported file itself is deployed
                if not any(empty.iterdir()):
                    empty.rmdir()
            found[on] = model
        return found

    def deployed_in(
        self, like: Architecture, winner: Architecture, folder: Path, on: str = ""
    ) -> Deployed | CandidateError:
        """Return a winner's model, deployed into ``folder`` in the precision of ``like`` for the target of a name."""
        bench = self._state.resolved.bench_of(like, on)
        exported = self._unfinished(winner) / (ONNX if bench.model_format == "onnx" else TORCH)
        resolved = self._state.resolved
        items = partial(resolved.source.calibration_items, wishes_of(resolved.space, winner))
        (deployed,) = bench.deploy([ExportedModel(exported, items, classifies=resolved.source.classifies)], [folder])
        return deployed

    def winner(
        self,
        candidate: Candidate,
        models: Mapping[str, Deployed],
        outcome: Outcome,
        difference: float,
        plain: Mapping[str, Measurement],
        more: Callable[[float | None], Mapping[str, Any]] = lambda error: {},
    ) -> Evaluation:
        """Test a winner, finish its bundle, and return its row.

        The exported model is tested too, to show what deploying changes. ``models`` are the deployed ones by the name
        of their target, of which the first has none.

        ``plain`` are measurements of the same weights in fp32, where the precision was chosen. ``more`` returns further
        details of the row by the test error, which is None if the winner fails.
        """
        state = self._state
        task = self._task(candidate)
        folder = self._unfinished(candidate)
        model = models[""]
        try:
            if isinstance(outcome, CandidateError):
                raise outcome
            tallies, exported = self._tallies(candidate, models, task)
            deployed = tallies[""]
            scores = recordable(scores_of(deployed, task.test))
            elsewhere = {on: recordable(scores_of(tally, task.test))["error"] for on, tally in tallies.items() if on}
            noise = self._noise(candidate, model, task)
        except CandidateError as error:
            failure = Failure(error.kind, error.reason)
            return Evaluation("winner", candidate, details=more(None), failure=failure)
        tested = scores.pop("error")
        if noise:
            scores[NOISE] = mean_score(list(noise.values()))
        row = Evaluation(
            "winner",
            candidate,
            values=state.beliefs.counted(candidate),
            predicted=self._fitting.predicted_before(candidate),
            measurements=outcome,
            details={
                "test_error": tested.value,
                "test_interval": [tested.low, tested.high],
                **self._evidence(task),
                "scores": {name: list(score) for name, score in scores.items()},
                **({"noise": {name: list(score) for name, score in noise.items()}} if noise else {}),
                "exported_test_error": exported.error if is_result(exported.error) else None,
                **({} if candidate.in_fp32 is None else _compared(plain, exported, task)),
                "chance_error": deployed.chance_error,
                **_confusion(deployed, task),
                "parity": difference,
                "folder": f"{self._inside}/{candidate.id}",
                "deployed": model.path.relative_to(folder).as_posix(),
                **self._elsewhere(candidate, models, elsewhere),
                **more(tested.value),
            },
        )
        self._write_bundle(row, outcome, task)
        return row

    def _evidence(self, task: Task) -> dict[str, float]:
        """Return what tells how much the search's errors say."""
        per_validated = round(len(task.test) / self._validated(task), 4)
        return {TESTED_PER_VALIDATED: per_validated, TRIED: max(1, tried(self._state.beliefs))}

    def _validated(self, task: Task) -> int:
        """Return the number of items by which the search judged candidates."""
        is_in_folds = self._state.recipe.training.folds > 1
        return len(task.validation) + (len(task.train) if is_in_folds else 0)

    def _tallies(
        self, candidate: Candidate, models: Mapping[str, Deployed], task: Task
    ) -> tuple[dict[str, Tally], Tally]:
        """Test deployed models, each on its target, and the exported one. Raises CandidateError if one fails."""
        runs = [partial(self._state.resolved.bench_of(candidate, on).outputs, model) for on, model in models.items()]
        *tallies, exported = tallies_of(task, [*runs, partial(outputs_of, self._unfinished(candidate) / ONNX)])
        return dict(zip(models, tallies, strict=True)), exported

    def _elsewhere(
        self, candidate: Candidate, models: Mapping[str, Deployed], errors: Mapping[str, Score]
    ) -> dict[str, Any]:
        """Return the detail about further targets: the file that runs there, and its test error."""
        if not errors:
            return {}
        folder = self._unfinished(candidate)
        return {
            ELSEWHERE: {
                on: {
                    "target": str(self._state.resolved.target_of(candidate, on)),
                    "deployed": models[on].path.relative_to(folder).as_posix(),
                    "test_error": list(error),
                }
                for on, error in errors.items()
            }
        }

    def _task(self, architecture: Architecture) -> Task:
        """Return the task, prepared as the architecture wishes it."""
        resolved = self._state.resolved
        return resolved.task.prepared_for(wishes_of(resolved.space, architecture))

    def _of_data(self, task: Task) -> dict[str, Any]:
        """Return the signature for which the space was made, if a winner's own is another."""
        made_for = self._state.resolved.signature
        return {} if task.signature == made_for else {MADE_FOR: made_for.to_json()}

    def _noise(self, architecture: Architecture, model: Deployed, task: Task) -> Mapping[str, Score]:
        """Return the deployed model's test errors by corruption; none unless the recipe asks for them."""
        state = self._state
        recipe, bench = state.recipe, state.resolved.bench_of(architecture)
        if searched_robustness(recipe) is None and not recipe.robustness.corruptions:
            return {}

        def outputs(raw: Tensors) -> torch.Tensor:
            return torch.from_numpy(bench.outputs(model, task.prepared(raw)))

        found = noise_scores(outputs, task.test, task, robustness_of(recipe))
        return found if all(is_result(each) for score in found.values() for each in score) else {}

    def _write_bundle(self, row: Evaluation, measurements: dict[str, Measurement], task: Task) -> None:
        """Write everything beside the model that someone needs who has only the folder, and move it to its place."""
        state, folder = self._state, self._unfinished(row.architecture)
        preparation = task.preparation or array_preparation(task.signature.to_json()["inputs"])
        samples = self._samples.pop(row.architecture)
        description: dict[str, Any] = {
            "id": row.architecture.id,
            "choices": dict(row.architecture),
            "space": state.recipe.space.model_dump(),
            "data": task.name,
            "signature": task.signature.to_json(),
            **self._of_data(task),
            "answers": task.answers,
            "batch": state.recipe.parsed_target.batch,
            "preparation": recorded(preparation),
            "packages": packages_of(preparation),
            "wishes": dict(wishes_of(state.resolved.space, row.architecture)),
            "params": row.values["params"],
            "macs": row.values["macs"],
            "modelled_energy_mj": row.values["modelled_energy_mj"],
            "modelled_dram_traffic_bytes": row.values["dram_traffic_bytes"],
            "test_error": row.details["test_error"],
            "test_interval_95": row.details["test_interval"],
            "exported_test_error": row.details["exported_test_error"],
            "test_scores_95": row.details["scores"],
            "target": str(state.resolved.target_of(row.architecture)),
            "deployed": row.details["deployed"],
            **({ELSEWHERE: row.details[ELSEWHERE]} if ELSEWHERE in row.details else {}),
            "parity": row.details["parity"],
            "samples": samples.in_words(task.noun),
            **self._for_the_card(row, task),
        }
        write_samples(folder, samples)
        for name, content in carried_files(preparation).items():
            write_aside(folder / name, content)
        write_about(folder, description, measurements)
        settle(self._bundle(row.architecture))

    def _for_the_card(self, row: Evaluation, task: Task) -> dict[str, Any]:
        """Return what else a model card tells: the data, the training, its cost, and where weights came from."""
        state, architecture = self._state, row.architecture
        retrained = state.beliefs.retrainings.get(architecture)
        details = {} if retrained is None else retrained.details
        return {
            "chance_error": row.details["chance_error"],
            "facts": facts_of(task),
            "warnings": list(task.warnings),
            "limits": [str(limit) for limit in state.recipe.parsed_limits],
            "training": {
                **{key: details[key] for key in OF_TRAINING if key in details},
                **self._further_data(details.get(RETRAINING, 0)),
                **self._of_parent(architecture),
            },
            **{key: row.details[key] for key in ("seed_errors", "failed_seeds") if key in row.details},
            "search_cost": total_cost(state.journal.rows(Cost), state.recipe.energy.gco2e_per_kwh),
            "origin": origin_of(innermost(state.resolved.space), architecture),
        }

    def _further_data(self, retraining: int) -> dict[str, Any]:
        """Return the further data of a retraining after the run had ended; nothing for one without any."""
        began = {row.number: row.data for row in self._state.journal.rows(RetrainingBegan)}
        data = began.get(retraining)
        return {"further": {"name": data["name"], "items": data["added"]}} if data else {}

    def _of_parent(self, architecture: Architecture) -> dict[str, bool]:
        """Return if a parent was tuned on the data; nothing for other architectures."""
        space = parents_space(self._state.resolved.space)
        if space is None or self._state.beliefs.candidate(space.parent) != architecture:
            return {}
        return {TUNED_PARENT: self._state.tuned_parent}

    def _bundle(self, architecture: Architecture) -> Path:
        return self._folder / self._inside / architecture.id

    def _unfinished(self, architecture: Architecture) -> Path:
        return unfinished(self._bundle(architecture))


def _compared(plain: Mapping[str, Measurement], exported: Tally, task: Task) -> dict[str, Any]:
    """Return the details that compare a winner with the same weights in fp32."""
    details: dict[str, Any] = {"fp32": {name: measurement.to_json() for name, measurement in plain.items()}}
    if is_result(exported.error):
        tested = scores_of(exported, task.test)["error"]
        details["exported_interval"] = [tested.low, min(tested.high, LARGEST_VALUE)]
    return details


def _confusion(tally: Tally, task: Task) -> dict[str, Any]:
    """Return the detail that counts test items by label and answer; none for many classes and for other answers."""
    names = task.answers.get("names")
    if not isinstance(tally, ClassTally) or names is None or len(names) > MOST_CLASSES:
        return {}
    return {"confusion": {"names": [str(name) for name in names], "counts": tally.confusion.tolist()}}
