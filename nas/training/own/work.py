"""The work of training one candidate by a user's own function."""

from __future__ import annotations

import contextlib
import math
import numbers
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from safetensors.torch import save

from nas.errors import CandidateError, NasError, raised_text
from nas.space.architecture import Architecture
from nas.space.own_code import EscapedError, own_code
from nas.space.parts.own_inputs import wishes_of
from nas.space.parts.start_weights import load_start
from nas.space.search_space import SearchSpace
from nas.space.tracing import build_checked, load_weights
from nas.storage.scratch import temporary_folder
from nas.tasks.criteria import largest_error
from nas.tasks.data_source import DataSource
from nas.tasks.task import Task
from nas.tasks.task_to_fit import TaskToFit
from nas.training.checkpoint import kept_folder
from nas.training.own.deadline import TimeUpError, deadline
from nas.training.own.function import OwnSettings, TrainingFunction
from nas.training.own.process_state import ProcessState
from nas.training.settings import TrainingSettings
from nas.values.metric import is_result, trained_values

WEIGHTS = "weights"
MOST_METRICS = 1000
"""More metrics beside the error are refused: a journal of such rows takes minutes to read."""
Step = Callable[[], Any]


@final
@dataclass(frozen=True)
class OwnTraining:
    """The work of a job: train its architecture by the user's ``function``, and report as it yields metrics.

    Jobs and reports are those of ``CandidateTraining``. Every report has an error, and "metrics" if there are others.
    What the function changes in the process, such as the current folder or torch's threads, holds while it runs, and
    not between its reports. A candidate's choices of training take the place of the settings of the same name;
    ``longer`` multiplies its epochs.
    """

    space: SearchSpace
    source: DataSource
    settings: TrainingSettings
    function: TrainingFunction
    clock: Callable[[], float] = field(default=time.monotonic)
    longer: float = 1.0

    def __call__(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Train, and yield a report for each of the metrics that the function yields.

        Raises:
            CandidateError: the function raises, takes too long, or gives no metrics as they must be.
        """
        architecture = Architecture(job["architecture"])
        task, began = self.source.load().prepared_for(wishes_of(self.space, architecture)), self.clock()
        with temporary_folder("training") as folder:
            steps = _Steps(self, task, architecture, job["seed"], folder, kept_folder(job))
            with contextlib.closing(steps):
                for report in steps.reports():
                    yield {**report, "subset": self.settings.subset, "seconds": self.clock() - began}


@final
class _Steps:
    """One training: the steps of the user's function, each in the state in which the last one left the process."""

    def __init__(
        self, work: OwnTraining, task: Task, architecture: Architecture, seed: int, folder: Path, kept: Path | None
    ) -> None:
        self._work = work
        self._settings = work.settings.of(work.space, architecture, work.longer)
        self._task = task
        self._architecture = architecture
        self._seed = seed
        self._folder = folder
        self._kept_folder = kept
        self._name = work.function.name
        self._left_s = work.settings.time_limit_s
        self._state: ProcessState | None = None
        self._module: torch.nn.Module | None = None
        self._running: Iterator[Any] | None = None
        self._returned = False

    def reports(self) -> Iterator[dict[str, Any]]:
        """Yield the reports; the last one, which holds ``done``, once the function has ended."""
        epochs, last, count = self._settings.epochs, None, 0
        found = self._step(self._begin)
        if isinstance(found, Iterator):
            self._running = found
            for metrics in iter(lambda: self._step(self._advance), None):
                last = metrics
                if self._returned:  # in the place of the last ones that it yielded
                    break
                count += 1
                if count > epochs:
                    raise self._wrong(
                        f"must yield metrics at most settings.epochs times ({epochs}), but did so once more. Loop over "
                        "range(settings.epochs), or raise training.epochs and retraining.epochs"
                    )
                report = self._checked(metrics)
                if count < epochs:
                    yield {**report, "epoch": count}
        elif found is not None:
            last = found
        if last is None:
            verb = "yield" if self._running is not None else "return"
            raise self._wrong(f'must {verb} metrics, such as {{"error": 0.1}}, but gave none')
        report = {**self._checked(last), "epoch": epochs, "done": True}
        yield {**report, **({WEIGHTS: self._weights(last)} if self._settings.keep_weights else {})}

    def close(self) -> None:
        """End the function, if it goes on, and what is told of it is not of interest any more."""
        running = getattr(self._running, "close", None)
        if running is None:
            return
        try:
            self._step(running)
        except (CandidateError, EscapedError) as error:
            print(f"note: {self._name} was ended, and then failed: {error}", file=sys.stderr)

    # Steps of the user's function

    def _begin(self) -> Any:
        """Call the function, with random numbers from the seed."""
        work, settings = self._work, self._settings
        torch.set_num_threads(settings.threads)
        torch.manual_seed(self._seed)
        np.random.seed(self._seed)  # noqa: NPY002 for the code of others
        random.seed(self._seed)
        if not work.function.takes_architecture:
            self._module = build_checked(work.space, self._architecture, self._task.signature)
            load_start(work.space, self._architecture, self._module)
        task = TaskToFit(self._task, settings.subset, settings.use_validation)
        given = self._module if self._module is not None else self._architecture
        return work.function.call(given, task, OwnSettings(settings, self._seed, self._folder, self._kept_folder))

    def _advance(self) -> Any:
        """Return the next metrics, or None at the end. A generator may also return its last metrics."""
        assert self._running is not None
        try:
            found = next(self._running)
        except StopIteration as end:
            self._returned = True
            return end.value
        return {} if found is None else found

    def _step(self, step: Step) -> Any:
        """Do one step in the time that is left, and leave the process as it was before.

        Raises:
            CandidateError: the time is over, or the code raised.
        """
        before, began_s = ProcessState(), self._work.clock()
        if self._state is not None:
            self._state.restore()
        try:
            with deadline(self._left_s), own_code(), self._state_kept():
                return step()
        except (TimeUpError, EscapedError) as error:
            if isinstance(error, EscapedError) and not isinstance(error.escaped, TimeUpError):
                raise CandidateError("exception", f"{self._name} raised {raised_text(error.escaped)}") from error
            raise CandidateError(
                "timeout",
                f"a training must take at most {self._settings.time_limit_s:g} s, but {self._name} took more.",
            ) from None
        except NasError:
            raise
        except Exception as error:
            if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
                raise
            raise CandidateError("exception", f"{self._name} raised {raised_text(error)}") from error
        finally:
            before.restore()
            self._left_s -= self._work.clock() - began_s

    @contextlib.contextmanager
    def _state_kept(self) -> Iterator[None]:
        """Keep the state that the context leaves, before anything around it puts the current folder back."""
        try:
            yield
        finally:
            self._state = ProcessState()

    # What it gives

    def _checked(self, metrics: object) -> dict[str, Any]:
        """Return metrics as a report. Raises CandidateError if they are none."""
        if not isinstance(metrics, Mapping):
            raise self._wrong(f'must give metrics as a dict, such as {{"error": 0.1}}, but gave {metrics!r:.80}')
        others = len(metrics.keys() - {"error", WEIGHTS})
        if others > MOST_METRICS:
            raise self._wrong(
                f"must give at most {MOST_METRICS:,} metrics beside the error, but gave {others:,}. "
                "Give their mean, or write them to a file of your own"
            )
        metrics = {str(key): value for key, value in metrics.items()}
        values = {key: _number(value) for key, value in metrics.items() if key != WEIGHTS}
        strange = [key for key, value in values.items() if value is None]
        if "error" not in values:
            given = ", ".join(map(repr, values)) or "none"
            raise self._wrong(f'must give the metric "error", of which lower is better, but gave {given}')
        if strange:
            raise self._wrong(f"must give numbers, but {strange[0]!r} is {metrics[strange[0]]!r:.80}")
        error = values.pop("error")
        assert error is not None
        if not math.isfinite(error):
            raise CandidateError("nan", f"the error must be finite, but {self._name} gave {error}.")
        largest = largest_error(self._task.criterion)
        if not 0 <= error <= largest:
            wanted = "at least 0" if largest == math.inf else f"from 0 to {largest:g}: a share, not per cent"
            raise self._wrong(f"must give an error {wanted}, but gave {error:g}")
        known = trained_values(values)  # those that may be objectives or limits
        # Notes such as a loss of NaN are no reason to fail, but no value that a journal can hold.
        notes = {name: value for name, value in values.items() if name not in known and value is not None}
        kept = {name: value for name, value in notes.items() if is_result(value)}
        return {"error": error, **known, **({"metrics": kept} if kept else {})}

    def _weights(self, metrics: Mapping[str, Any]) -> bytes:
        """Return the weights for the module that the space builds, as the bytes of a safetensors file.

        Raises:
            CandidateError: there are none, or they are those of another module.
        """
        found = metrics.get(WEIGHTS)
        if found is None and self._module is not None:
            found = self._module.state_dict()
        if found is None:
            raise self._wrong(
                'takes an architecture, so in the final training its last metrics must hold "weights", the state_dict '
                "of the module that the space builds. Without them the winner cannot be exported"
            )
        if not isinstance(found, Mapping) or not all(isinstance(each, torch.Tensor) for each in found.values()):
            raise self._wrong(f'must give "weights" as a state_dict, but gave {found!r:.80}')
        # Copies, because safetensors refuses tensors that several layers share.
        state = {name: value.detach().cpu().contiguous().clone() for name, value in found.items()}
        infinite = [name for name, value in state.items() if not bool(value.isfinite().all())]
        if infinite:
            raise CandidateError("nan", f"trained weights must be finite, but {self._name} gave others: {infinite[0]}.")
        with torch.random.fork_rng(devices=[]):
            module = build_checked(self._work.space, self._architecture, self._task.signature)
        kinds = {name: value.dtype for name, value in module.state_dict().items()}
        state = {name: value.to(kinds.get(name, value.dtype)) for name, value in state.items()}
        try:
            load_weights(module, state)
        except CandidateError as error:
            raise self._wrong(
                f'must give "weights" of the module that the space builds, but: {error.reason}'
            ) from error
        return save(state)

    def _wrong(self, what: str) -> CandidateError:
        return CandidateError("report", f"the training function {self._name} {what}.")


def _number(value: object) -> float | None:
    """Return a number as a float, also one in a tensor; None for anything else."""
    if isinstance(value, torch.Tensor | np.ndarray):
        value = value.item() if math.prod(value.shape) == 1 else None
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        return None
    return float(value)
