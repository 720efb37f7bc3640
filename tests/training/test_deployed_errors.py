"""Errors in other precisions are those of the runtime's answers, and must be values that a journal holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.utils.data import TensorDataset

from nas.errors import CandidateError, TargetError
from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.runtimes.runtime import ExportedModel
from nas.tasks.data_sets import DataSetTask
from nas.training.deployed_errors import InPrecisions
from nas.values.target import Target

X = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
VALUES = TensorDataset(X, X[:, 0])


class Answering:
    """A measuring process whose models always answer the same."""

    def __init__(self, answer: float) -> None:
        self._answer = answer

    def convert(self, model: ExportedModel, *rest: Any) -> SimpleNamespace:
        return SimpleNamespace(path=model.path)

    def outputs(self, model: Path, inputs: Sequence[npt.NDArray[Any]], *rest: Any) -> npt.NDArray[np.float32]:
        return np.full((len(inputs[0]), 1), self._answer, dtype=np.float32)


def metrics(answer: float, folder: Path, *wanted: str) -> dict[str, float]:
    task = DataSetTask(VALUES, VALUES, VALUES)
    work = InPrecisions(lambda job: iter(()), None, None, {}, wanted=("error", *wanted))  # type: ignore[arg-type]
    return work._metrics(Answering(answer), ExportedModel(Path("model")), folder, task)  # type: ignore[arg-type]


def test_metrics_are_those_of_the_answers(tmp_path: Path) -> None:
    """Always answering the mean explains nothing of the variance."""
    found = metrics(0.0, tmp_path / "int8")
    assert found["error"] == pytest.approx(1, abs=0.05)
    assert found["unexplained_variance"] == pytest.approx(1, abs=0.05)


def test_answers_that_give_no_result_are_a_failure(tmp_path: Path) -> None:
    """An error that is too large for a journal is none, and so is a metric that the criterion does not have."""
    with pytest.raises(CandidateError, match=r"must be finite and at most 1e\+30, but it is 1e\+32"):
        metrics(1e16, tmp_path / "large")
    with pytest.raises(CandidateError, match="outputs of a model must be finite"):
        metrics(float("nan"), tmp_path / "nan")
    with pytest.raises(CandidateError, match="must have a finite macro_f1_loss, but has none"):
        metrics(0.0, tmp_path / "other", "macro_f1_loss")


def test_a_machine_without_the_runtime_is_told_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A node of a cluster may lack an environment that the machine of the search has."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path))
    monkeypatch.setattr("nas.hardware.measuring_process.platform.node", lambda: "node7")
    with pytest.raises(TargetError, match=r"cannot run on node7: .*run: nas target install litert-cpu"):
        MeasuringProcess(Target("litert-cpu"), 1.0, pinned=False)
