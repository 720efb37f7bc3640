"""The baselines of a task: fitted once, and tested and measured beside the winners."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import final

import numpy as np
import onnx
from threadpoolctl import threadpool_limits

from nas.errors import CandidateError, NasError, raised_text
from nas.formats.onnx_file import with_counts
from nas.formats.onnx_session import outputs_of
from nas.hardware.bench import Bench
from nas.hardware.runtimes.runtime import Deployed, ExportedModel
from nas.searching.state import RunState
from nas.searching.winners.final_measurements import ENERGY, FINAL_METRICS
from nas.storage.journal import write_aside
from nas.storage.journal_rows import BaselineTested
from nas.tasks.task import Baseline
from nas.tasks.testing import tested
from nas.training.regressions import load_scikit_learn
from nas.values.measurement import Measurement
from nas.values.metric import bare_name, on_target, target_in

BASELINES = "baselines"
"""The folder of their files within a run's folder."""
UNMEASURED = (ENERGY, "weight_bytes")
"""Metrics of winners that baselines have only if they were asked for: trees keep no weights in tensors."""


@final
class Baselines:
    """The baselines of a run's task. Each gets one row in the journal, so that resuming repeats none."""

    def __init__(self, state: RunState, folder: Path) -> None:
        self._state = state
        self._folder = folder / BASELINES

    def run(self) -> None:
        """Fit, test and measure the baselines that the journal does not have yet."""
        state = self._state
        done = {row.name for row in state.journal.rows(BaselineTested)}
        waiting = [each for each in state.resolved.task.baselines if each.name not in done]
        if not waiting:
            return
        state.progress.stage("fitting and testing baselines", len(waiting))
        for baseline in waiting:
            state.journal.append(self._tested(baseline))
            state.progress.advance()
        state.progress.close()

    def _tested(self, baseline: Baseline) -> BaselineTested:
        try:
            path = self._fitted(baseline)
        except (NasError, OSError):
            raise
        except Exception as error:  # a library's failure on these data: winners are sound without it
            return BaselineTested(baseline.name, baseline.in_words, failure=raised_text(error))
        measurements: dict[str, Measurement] = {}
        unmeasured: list[str] = []
        tested: Deployed | None = None
        for number, on in enumerate(self._state.recipe.named_targets):
            try:
                deployed = self._deployed(path, on)
                measurements |= self._measured(deployed, on, number)
                tested = tested if on else deployed
            except CandidateError as error:
                unmeasured.append(f"on {on}: {error.reason}" if on else error.reason)
        try:
            scores = self._scores(path, tested)
        except CandidateError as error:
            return BaselineTested(baseline.name, baseline.in_words, failure=error.reason)
        return BaselineTested(baseline.name, baseline.in_words, scores, measurements, "; ".join(unmeasured))

    def _fitted(self, baseline: Baseline) -> Path:
        """Fit a baseline, and return its file, which takes what the models take."""
        state = self._state
        # Threads that wait for each other in turns take minutes instead of seconds where other programs are busy.
        load_scikit_learn()
        with threadpool_limits(state.recipe.execution.threads_per_worker):
            content = baseline.fit(state.recipe.parsed_target.batch)
        model = with_counts(onnx.load_from_string(content), state.resolved.signature.inputs)
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{_file_name(baseline.name)}.onnx"
        write_aside(path, model.SerializeToString())
        return path

    def _bench(self, on: str) -> Bench:
        """Return the bench of the target of a name: that of fp32 where the precision is a choice."""
        return next(bench for name, bench in self._state.resolved.models.benches.items() if target_in(name) == on)

    def _deployed(self, path: Path, on: str) -> Deployed:
        """Return the model as it runs on the target of a name."""
        bench = self._bench(on)
        if bench.model_format != "onnx":
            raise CandidateError("measure", f"{self._state.recipe.named_targets[on]} takes no ONNX files")
        folder = path.with_name(_file_name(f"{path.stem} on {on}")) if on else path.with_suffix("")
        shutil.rmtree(folder, ignore_errors=True)
        source = self._state.resolved.source
        model = ExportedModel(path, partial(source.calibration_items, {}), classifies=source.classifies)
        (deployed,) = bench.deploy([model], [folder])
        if isinstance(deployed, CandidateError):
            raise deployed
        if not any(folder.iterdir()):  # the exported file itself is deployed
            folder.rmdir()
        return deployed

    def _measured(self, deployed: Deployed, on: str, number: int) -> Mapping[str, Measurement]:
        """Return the metrics that winners are measured by on the target of a name, which is the run's ``number``."""
        state, bench = self._state, self._bench(on)
        state.check_bench()
        names = [name for name in FINAL_METRICS if name not in UNMEASURED and bench.can_measure(name)]
        asked = [bare_name(name) for name in state.beliefs.measured_metrics if target_in(name) == on]
        rng = np.random.default_rng((state.recipe.seed, 5, number) if number else (state.recipe.seed, 5))
        (outcome,) = bench.measure([deployed], tuple(dict.fromkeys((*names, *asked))), rng)
        if isinstance(outcome, CandidateError):
            raise outcome
        return {on_target(on, name): found for name, found in outcome.items()}

    def _scores(self, path: Path, deployed: Deployed | None) -> dict[str, tuple[float, float, float]]:
        """Return the scores on the test split: of the deployed model, or where it was not measured, of its file."""
        run = partial(outputs_of, path) if deployed is None else partial(self._state.resolved.bench.outputs, deployed)
        scores = tested(self._state.resolved.task, run)
        return {name: (score.value, score.low, score.high) for name, score in scores.items()}


def _file_name(text: str) -> str:
    return re.sub("[^A-Za-z0-9]+", "-", text)
