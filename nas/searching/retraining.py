"""Winners: chosen from the measured front, retrained, exported, measured, and tested once."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from safetensors.torch import load

from nas.errors import CandidateError, TargetError
from nas.formats.export import export_model, export_onnx, parity
from nas.formats.onnx_session import outputs_of
from nas.hardware.bench import Outcome
from nas.hardware.runtimes.runtime import Deployed
from nas.jobs.execution import Executor, Job, Report
from nas.searching.evaluators import training_seed, training_settings
from nas.searching.fitting import Fitting
from nas.searching.proxy_evaluators import SUPERNET
from nas.searching.run_state import RunState
from nas.searching.search import Search
from nas.searching.winner_choice import WinnerChoice
from nas.space.architecture import Architecture
from nas.space.tracing import build_checked
from nas.storage.journal import write_aside
from nas.tasks.dataset import DataSet
from nas.training.supernet import SharedWeights
from nas.training.training import CandidateTraining, normalised_images
from nas.values.evaluation import Evaluation, Failure
from nas.values.measurement import Measurement

WINNERS = "winners"
ONNX, TORCH, DEPLOYED = "model.onnx", "model.pt2", "deployed"
ENERGY = "energy_mj"
FINAL_METRICS = ("latency_ms", "peak_memory_mib", "model_bytes", "weight_bytes", ENERGY)
"""What every winner is measured by, as far as the target allows, and the metrics that were asked for."""
PARITY_IMAGES = 64


@final
class Retraining:
    """The last stages of a run. Like all of it, each looks first at what the rows say is done already."""

    def __init__(self, state: RunState, search: Search, fitting: Fitting, folder: Path) -> None:
        self._state = state
        self._fitting = fitting
        self._folder = folder
        self._choice = WinnerChoice(state, search)

    def run(self, executor: Executor) -> None:
        """Retrain, then export, measure and test, until there are as many winners as asked for or as the front has."""
        state = self._state
        wanted = state.recipe.retraining.winners
        while True:  # each pass adds a row for at least one architecture of the front
            chosen = self._choice.choose(wanted)
            untrained = [a for a in chosen if a not in state.knowledge.retrainings]
            unfinished = [a for a in chosen if a not in state.knowledge.winners]
            if untrained:
                self._retrain(untrained, executor)
            elif unfinished:
                self._finish(unfinished)
            else:
                return

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
            start = SharedWeights(state.task.space, (self._folder / SUPERNET).read_bytes())
        task = CandidateTraining(state.task.space, state.task.source, settings, state.stopwatch, start)
        source = _Retrainings(state, self._folder, list(architectures))
        executor.run(task, source, time_limit_s=retraining.time_limit_s)
        state.progress.close()
        state.note_cost()

    def _finish(self, architectures: Sequence[Architecture]) -> None:
        """Export and deploy all, measure them together, test each once, and write the rows."""
        state = self._state
        bench = state.task.bench
        parities: dict[Architecture, float] = {}
        deployed: dict[Architecture, Deployed] = {}
        state.progress.stage("exporting winners", len(architectures))
        for architecture in architectures:
            try:
                parities[architecture] = self._export(architecture)
                deployed[architecture] = self._deploy(architecture)
            except CandidateError as error:
                state.add(Evaluation("winner", architecture, failure=Failure(error.kind, error.reason)))
                state.knowledge.check_failures()
            state.progress.advance()
        state.progress.stage("measuring winners", len(deployed) * bench.rounds)
        rng = np.random.default_rng((state.recipe.seed, 2))
        state.check_bench()
        possible = (name for name in FINAL_METRICS if name != ENERGY and bench.can_measure(name))
        metrics = tuple(dict.fromkeys((*possible, *state.screen.measured_metrics)))
        outcomes = bench.measure(list(deployed.values()), metrics, rng, state.progress.advance)
        if ENERGY not in metrics:
            outcomes = self._with_energy(list(deployed.values()), outcomes, rng)
        state.progress.stage("testing winners", len(deployed))
        for (architecture, model), outcome in zip(deployed.items(), outcomes, strict=True):
            state.add(self._winner(architecture, model, outcome, parities[architecture]))
            state.knowledge.check_failures()
            state.progress.advance()
        state.progress.close()

    def _with_energy(
        self, models: Sequence[Deployed], outcomes: Sequence[Outcome], rng: np.random.Generator
    ) -> list[Outcome]:
        """The outcomes with energies that nobody asked for: where there is none, a winner is one all the same."""
        say, bench, found = self._state.progress.say, self._state.task.bench, list(outcomes)
        sound = [place for place, outcome in enumerate(found) if not isinstance(outcome, CandidateError)]
        try:
            if not bench.can_measure(ENERGY):
                return found
            energies = bench.measure([models[place] for place in sound], [ENERGY], rng)
        except TargetError as error:
            say(f"energies of the winners are left out, for they could not be measured: {error}")
            return found
        for place, energy in zip(sound, energies, strict=True):
            known = found[place]
            assert not isinstance(known, CandidateError)
            if isinstance(energy, CandidateError):
                say(f"a winner's energy is left out, for it could not be measured: {energy.reason}")
            else:
                found[place] = {**known, **energy}
        return found

    def _export(self, architecture: Architecture) -> float:
        """Write the bundle's model.onnx, and what the runtime takes; how far the former's outputs are from torch's."""
        state = self._state
        data = state.task.data
        folder = self._bundle(architecture)
        module = build_checked(state.task.space, architecture, data.input_shape, data.class_count)
        module.load_state_dict(load((folder / "model.safetensors").read_bytes()))
        module.eval()
        batch = state.recipe.parsed_target.batch
        export_onnx(module, data.input_shape, batch, folder / ONNX)
        if state.task.bench.model_format == "torch":
            export_model(module, data.input_shape, batch, folder / TORCH, "torch")
        count = max(batch, PARITY_IMAGES // batch * batch)
        images = np.resize(data.validation.images, (count, *data.input_shape))
        with torch.inference_mode():
            return parity(module, folder / ONNX, normalised_images(images, data))

    def _deploy(self, architecture: Architecture) -> Deployed:
        """What the runtime makes of the exported model: it stays in the bundle, for it is what is measured."""
        folder = self._bundle(architecture)
        shutil.rmtree(folder / DEPLOYED, ignore_errors=True)
        bench = self._state.task.bench
        (deployed,) = bench.deploy([folder / (ONNX if bench.model_format == "onnx" else TORCH)], [folder / DEPLOYED])
        if isinstance(deployed, CandidateError):
            raise deployed
        if not any((folder / DEPLOYED).iterdir()):  # it is deployed as it was exported
            (folder / DEPLOYED).rmdir()
        return deployed

    def _winner(self, architecture: Architecture, model: Deployed, outcome: Outcome, difference: float) -> Evaluation:
        """The row of a winner. It is tested as it is deployed, and as exported too, to show what deploying costs."""
        state = self._state
        data = state.task.data
        folder = self._bundle(architecture)
        images = normalised_images(data.test.images, data)
        try:
            if isinstance(outcome, CandidateError):
                raise outcome
            outputs = state.task.bench.outputs(model, images)
            exported = outputs_of(folder / ONNX, images)
        except CandidateError as error:
            return Evaluation("winner", architecture, failure=Failure(error.kind, error.reason))
        wrong = int((outputs.argmax(axis=1) != data.test.labels).sum())
        wrong_exported = int((exported.argmax(axis=1) != data.test.labels).sum())
        row = Evaluation(
            "winner",
            architecture,
            values=state.screen.counted(architecture),
            predicted=self._fitting.predict_unseen(architecture),
            measurements=outcome,
            details={
                "test_error": wrong / len(data.test),
                "test_interval": list(wilson_interval(wrong, len(data.test))),
                "exported_test_error": wrong_exported / len(data.test),
                "parity": difference,
                "folder": f"{WINNERS}/{architecture.id}",
                "deployed": model.path.relative_to(folder).as_posix(),
            },
        )
        self._write_bundle(row, outcome, data)
        return row

    def _write_bundle(self, row: Evaluation, measurements: dict[str, Measurement], data: DataSet) -> None:
        """Everything beside the model that someone needs who has nothing but the folder."""
        state = self._state
        folder = self._bundle(row.architecture)
        description: dict[str, Any] = {
            "id": row.architecture.id,
            "choices": dict(row.architecture),
            "space": state.recipe.space.model_dump(),
            "data": data.name,
            "classes": list(data.classes),
            "input_shape": list(data.input_shape),
            "batch": state.recipe.parsed_target.batch,
            "mean": np.asarray(data.mean).tolist(),
            "std": np.asarray(data.std).tolist(),
            "params": row.values["params"],
            "macs": row.values["macs"],
            "modelled_energy_mj": row.values["modelled_energy_mj"],
            "modelled_dram_traffic_bytes": row.values["dram_traffic_bytes"],
            "test_error": row.details["test_error"],
            "test_interval_95": row.details["test_interval"],
            "exported_test_error": row.details["exported_test_error"],
            "target": state.recipe.target,
            "deployed": row.details["deployed"],
            "parity": row.details["parity"],
        }
        measured = {name: measurement.to_json() for name, measurement in measurements.items()}
        write_aside(folder / "architecture.json", _json(description))
        write_aside(folder / "measurement.json", _json(measured))
        write_aside(folder / "predict.py", resources.files("nas.formats").joinpath("templates/predict.py").read_bytes())

    def _bundle(self, architecture: Architecture) -> Path:
        return self._folder / WINNERS / architecture.id


@final
class _Retrainings:
    """The source of the retraining jobs: keeps the weights first, then writes the row that says they are there."""

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
        """Nothing is kept of a retraining before its end."""

    def on_end(self, job: Job, report: Report) -> None:
        folder = self._folder / WINNERS / job["id"]
        folder.mkdir(parents=True, exist_ok=True)
        write_aside(folder / "model.safetensors", report["weights"])
        details = {"epochs": report["epoch"], "seconds": report["seconds"], "folder": f"{WINNERS}/{job['id']}"}
        start = self._state.recipe.retraining.start
        details |= {} if start == "scratch" else {"start": start}
        self._state.add(Evaluation("retrain", Architecture(job["architecture"]), details=details))
        self._state.progress.advance()

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        failed = Failure(failure.kind, failure.reason)
        self._state.add(Evaluation("retrain", Architecture(job["architecture"]), failure=failed))
        self._state.progress.advance()
        self._state.knowledge.check_failures()


def wilson_interval(wrong: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share (Wilson, 1927), which stays within 0 and 1."""
    share = wrong / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
