"""The bundle of each winner: exporting, deploying and testing its model, and writing its files."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from safetensors.torch import load

from nas.errors import CandidateError
from nas.formats.export import export_model, export_onnx, parity
from nas.formats.onnx_session import outputs_of
from nas.hardware.bench import Outcome
from nas.hardware.runtimes.runtime import Deployed
from nas.results.bundle import ABOUT
from nas.searching.fitting import Fitting
from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.space.tracing import build_checked, load_weights
from nas.storage.journal import write_aside
from nas.tasks.dataset import DataSet
from nas.training.training import normalised_images
from nas.values.comparison import wilson_interval
from nas.values.evaluation import Evaluation, Failure
from nas.values.measurement import Measurement

WINNERS = "winners"
ONNX, TORCH, DEPLOYED = "model.onnx", "model.pt2", "deployed"
PARITY_IMAGES = 64


@final
class BundleMaker:
    """Makes a winner of each retrained architecture, in a folder of its own within the run's ``folder``."""

    def __init__(self, state: RunState, fitting: Fitting, folder: Path) -> None:
        self._state = state
        self._fitting = fitting
        self._folder = folder

    def export(self, architecture: Architecture) -> float:
        """Write the bundle's ``model.onnx``, and the format that the runtime takes.

        Returns the largest difference between the outputs of ``model.onnx`` and of torch.
        """
        state = self._state
        data = state.resolved.data
        folder = self._bundle(architecture)
        module = build_checked(state.resolved.space, architecture, data.input_shape, data.class_count)
        load_weights(module, load((folder / "model.safetensors").read_bytes()))
        module.eval()
        batch = state.recipe.parsed_target.batch
        export_onnx(module, data.input_shape, batch, folder / ONNX)
        if state.resolved.bench.model_format == "torch":
            export_model(module, data.input_shape, batch, folder / TORCH, "torch")
        count = max(batch, PARITY_IMAGES // batch * batch)
        images = np.resize(data.validation.images, (count, *data.input_shape))
        with torch.inference_mode():
            return parity(module, folder / ONNX, normalised_images(images, data))

    def deploy(self, architecture: Architecture) -> Deployed:
        """Deploy the exported model. The deployed model stays in the bundle, because it is the one that is measured."""
        folder = self._bundle(architecture)
        shutil.rmtree(folder / DEPLOYED, ignore_errors=True)
        bench = self._state.resolved.bench
        (deployed,) = bench.deploy([folder / (ONNX if bench.model_format == "onnx" else TORCH)], [folder / DEPLOYED])
        if isinstance(deployed, CandidateError):
            raise deployed
        if not any((folder / DEPLOYED).iterdir()):  # the exported file itself is deployed
            (folder / DEPLOYED).rmdir()
        return deployed

    def winner(self, architecture: Architecture, model: Deployed, outcome: Outcome, difference: float) -> Evaluation:
        """Test a winner and return its row. The exported model is tested too, to show what deploying changes."""
        state = self._state
        data = state.resolved.data
        folder = self._bundle(architecture)
        images = normalised_images(data.test.images, data)
        try:
            if isinstance(outcome, CandidateError):
                raise outcome
            outputs = state.resolved.bench.outputs(model, images)
            exported = outputs_of(folder / ONNX, images)
        except CandidateError as error:
            return Evaluation("winner", architecture, failure=Failure(error.kind, error.reason))
        wrong = int((outputs.argmax(axis=1) != data.test.labels).sum())
        wrong_exported = int((exported.argmax(axis=1) != data.test.labels).sum())
        row = Evaluation(
            "winner",
            architecture,
            values=state.beliefs.counted(architecture),
            predicted=self._fitting.predicted_before(architecture),
            measurements=outcome,
            details={
                "test_error": wrong / len(data.test),
                "test_interval": list(wilson_interval(wrong, len(data.test))),
                "exported_test_error": wrong_exported / len(data.test),
                "chance_error": (len(data.test) - int(np.bincount(data.test.labels).max())) / len(data.test),
                "parity": difference,
                "folder": f"{WINNERS}/{architecture.id}",
                "deployed": model.path.relative_to(folder).as_posix(),
            },
        )
        self._write_bundle(row, outcome, data)
        return row

    def _write_bundle(self, row: Evaluation, measurements: dict[str, Measurement], data: DataSet) -> None:
        """Write everything beside the model that someone needs who has only the folder."""
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
            "preparation": data.preparation.to_json(),
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
        write_aside(folder / ABOUT, _json(description))
        write_aside(folder / "measurement.json", _json(measured))
        write_aside(folder / "predict.py", resources.files("nas.tasks").joinpath("predict.py").read_bytes())

    def _bundle(self, architecture: Architecture) -> Path:
        return self._folder / WINNERS / architecture.id


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
