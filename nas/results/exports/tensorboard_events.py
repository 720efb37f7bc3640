"""A run as TensorBoard events: curves over the search, and a session of the HParams page for each architecture."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from nas.errors import RecipeError
from nas.results.exports.export import Exported, TrackedExport
from nas.results.exports.extras import extra
from nas.results.exports.tracked import RunFacts, values_in
from nas.space.architecture import Architecture
from nas.storage.output_files import check_place
from nas.values.evaluation import Evaluation

if TYPE_CHECKING:
    from nas.results.run import Run

EVENTS_FOLDER = "tensorboard"
"""The folder of events in a run's folder unless another place is named."""
SEARCH, ARCHITECTURES = "search", "architectures"
MARKER = ".nas-run"
"""A file in a folder of events which says that they were made from a run, and can be made again."""


@final
class TensorBoard(TrackedExport):
    """A folder of TensorBoard events, with curves over the search and a session for each architecture."""

    def check(self) -> None:
        extra("tensorboardX")

    def follow(self, run_folder: Path, place: str | None) -> TensorBoardTracker:
        """Return the tracker of a run, which writes into the folder ``place``."""
        return TensorBoardTracker(Path(place) if place is not None else run_folder / EVENTS_FOLDER)

    def write(self, run: Run, place: str | None) -> Exported:
        """Write events aside, and put them in place of earlier ones once they are whole."""
        folder = Path(place) if place is not None else run.run_folder / EVENTS_FOLDER
        check_place(folder, run_folder=run.run_folder)
        if folder.exists() and not folder.is_dir():
            raise RecipeError(f"events go into a folder, but {folder} is a file.")
        aside = folder / f".{run.name}.{os.getpid()}"
        try:
            self.add_all(run, str(aside))
            clear(folder / run.name)
            os.replace(aside / run.name, folder / run.name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return Exported(str(folder), f"tensorboard --logdir {folder}")


@final
class TensorBoardTracker:
    """Writes events to ``place/NAME``, where NAME is that of the run.

    ``search`` in it has curves over the evaluations of the search. ``architectures`` has a folder for each evaluated
    architecture, with its choices, its values, and its error after each epoch.
    """

    def __init__(self, place: Path) -> None:
        self._writers = extra("tensorboardX")
        self._place = place
        self._folder = place
        self._main: Any = None
        self._evaluated = self._failed = self._files = 0
        self._least: dict[str, float] = {}
        self._measured: dict[str, dict[str, float]] = {}

    def begin(self, facts: RunFacts) -> None:
        self._folder = self._place / facts.name
        clear(self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / MARKER).write_text(f"{facts.name}\n", encoding="utf-8")
        self._main = self._writer(self._folder / SEARCH)
        about = {"target": facts.target, "objectives": ", ".join(facts.objectives), "limits": ", ".join(facts.limits)}
        for name, text in {**about, "recipe": facts.recipe_text}.items():
            self._main.add_text(name, _as_code(text))
        self._main.flush()

    def add(self, rows: Sequence[Evaluation]) -> None:
        for row in rows:
            if row.stage == "measure" and not row.failed:
                self._measured.setdefault(row.architecture.id, {}).update(values_in(row))
            elif row.stage == "train":
                self._add_evaluation(row)
            elif row.stage == "winner" and not row.failed:
                self._add_session(row.architecture, values_in(row))
        self._main.flush()

    def end(self, status: str) -> None:
        if self._main is not None:
            self._main.close()
            self._main = None

    def _add_evaluation(self, row: Evaluation) -> None:
        self._evaluated += 1
        if row.failed:
            self._failed += 1
            self._main.add_scalar("failed_evaluations", self._failed, self._evaluated)
            return
        values = {**values_in(row), **self._measured.get(row.architecture.id, {})}
        for name, value in values.items():
            self._main.add_scalar(f"evaluation/{name}", value, self._evaluated)
            if name.startswith("validation_") and row.reached_full_fidelity:
                self._least[name] = min(value, self._least.get(name, value))
                self._main.add_scalar(f"best_so_far/{name}", self._least[name], self._evaluated)
        self._add_session(row.architecture, values, row.details.get("curve", ()))

    def _add_session(
        self, architecture: Architecture, values: Mapping[str, float], curve: Sequence[float] = ()
    ) -> None:
        # Without a description of the experiment, TensorBoard finds the columns from all sessions.
        _, start, end = extra("tensorboardX.summary").hparams(dict(architecture), {})
        with self._session(self._folder / ARCHITECTURES / architecture.id) as writer:
            writer.file_writer.add_summary(start)
            for epoch, error in enumerate(curve, start=1):
                writer.add_scalar("curve", float(error), epoch)
            for name, value in values.items():
                writer.add_scalar(name, value, 0)
            writer.file_writer.add_summary(end)

    @contextmanager
    def _session(self, folder: Path) -> Iterator[Any]:
        writer = self._writer(folder)
        try:
            yield writer
        finally:
            writer.close()

    def _writer(self, folder: Path) -> Any:
        self._files += 1  # two files of one second would have the same name
        return self._writers.SummaryWriter(logdir=str(folder), filename_suffix=f".{self._files}")


def clear(folder: Path) -> None:
    """Remove the events that an earlier export of a run wrote to ``folder``.

    Raises:
        RecipeError: something else lies there.
    """
    if not folder.exists():
        return
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if not (folder / MARKER).is_file() and not is_empty:
        raise RecipeError(
            f"events of a run need a folder of their own, but {folder} holds something else. Choose another place."
        )
    shutil.rmtree(folder)


def _as_code(text: str) -> str:
    """Return a text as a block of code in TensorBoard's Markdown."""
    return "\n".join(f"    {line}" for line in text.splitlines() or [""])
