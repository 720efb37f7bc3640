"""The protocol of exports: a run in the form of another tool, written as a whole or row by row."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, final

from nas.errors import RecipeError
from nas.results.exports.tracked import RunFacts
from nas.space.plug_ins import load_plug_in
from nas.storage.output_files import check_file, write_out
from nas.values.evaluation import Evaluation

if TYPE_CHECKING:
    from nas.results.run import Run

GROUP = "nas.exports"
"""The entry points of exports."""


@final
@dataclass(frozen=True)
class Exported:
    """What was written: its place, a command line that opens it, if there is one, and sentences about it."""

    place: str
    opened_by: str | None = None
    notes: tuple[str, ...] = ()


class Tracker(Protocol):
    """Follows one run in another tool."""

    def begin(self, facts: RunFacts) -> None:
        """Begin a run, or go on with the one that has the same facts."""

    def add(self, rows: Sequence[Evaluation]) -> None:
        """Add rows, oldest first. Rows that an earlier process added are recognised."""

    def end(self, status: str) -> None:
        """End the run: ``FINISHED``, ``KILLED`` or ``FAILED``."""


class Export(ABC):
    """A form of a run that another tool reads. A plug-in is a class derived from this one or from one below.

    The summary of its docstring is what ``nas list`` says about it.
    """

    @abstractmethod
    def write(self, run: Run, place: str | None) -> Exported:
        """Write a run to ``place``, which is a file, a folder or a URI; None is a place of its own.

        Raises:
            RecipeError: a place that cannot be written, or a package that is not installed.
            OSError: what the system says of the place; the caller turns it into a RecipeError.
        """

    def check(self) -> None:  # noqa: B027 (most exports need no further package)
        """Check that the packages are installed. Raises RecipeError, which says how to install them."""


class FileExport(Export):
    """An export that is one file, whose content can also go to standard output."""

    default_name: ClassVar[str]
    """The name of the file in the run's folder, where no other place is given."""

    @abstractmethod
    def content(self, run: Run) -> bytes:
        """Return a run as the content of the file."""

    def write(self, run: Run, place: str | None) -> Exported:
        """Write the file whole or not at all."""
        path = Path(place) if place is not None else run.run_folder / self.default_name
        check_file(path, run_folder=run.run_folder)
        write_out(path, self.content(run))
        return Exported(str(path))


class TrackedExport(Export):
    """An export that adds one row after the other, so that it can also follow a run."""

    @abstractmethod
    def follow(self, run_folder: Path, place: str | None) -> Tracker:
        """Return what follows the run in ``run_folder``. Raises RecipeError if a package that it needs is missing."""

    def add_all(self, run: Run, place: str | None) -> None:
        """Add a run as ``follow`` would have followed it."""
        tracker = self.follow(run.run_folder, place)
        tracker.begin(RunFacts.of(run))
        tracker.add(run.rows)
        tracker.end("FINISHED" if run.is_over else "FAILED" if run.ended_by else "KILLED")


def load_export(name: str) -> Export:
    """Return the export that is registered as ``name``, or made by the class at ``module:Name``.

    Raises:
        RecipeError: no such export, or no class derived from ``nas.Export``.
    """
    maker: Any = load_plug_in(GROUP, name, "export")
    if not inspect.isclass(maker) or not issubclass(maker, Export):
        raise RecipeError(f"an export must be a class derived from nas.Export, but {name!r} is {maker!r:.80}.")
    made: Export = maker()
    return made
