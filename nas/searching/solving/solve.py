"""Solving a finished run under other limits or on another target, from top to bottom."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import JournalError, RecipeError, SpaceError
from nas.hardware.devices.named import device_of
from nas.reports.progress_display import ProgressChoice, chosen_progress
from nas.results.run_folder import read_run, run_folder_of
from nas.results.solved import Solved, front_points
from nas.searching.solving.as_run import check_new, write_as_run
from nas.searching.solving.improving import improvements_of, unmet_of
from nas.searching.solving.later_measurements import later_folder, later_rows, own_fingerprint
from nas.searching.solving.remarks import notes_of, went_on
from nas.searching.solving.request import Asked, asked_of, check_trained
from nas.searching.solving.seeded import Seeded, seeded
from nas.signals import stopping

if TYPE_CHECKING:
    from nas.searching.instruments import Instruments
    from nas.searching.user_inputs.objects import GivenData, GivenSpace


@stopping()
def solve(
    folder: Path | str,
    limits: Iterable[str] | None = None,
    *,
    objectives: Iterable[str] | None = None,
    target: str | None = None,
    measure: int | None = None,
    space: GivenSpace | str | None = None,
    data: GivenData | None = None,
    trust: bool = False,
    fresh: bool = False,
    as_run: Path | str | None = None,
    progress: ProgressChoice = "auto",
    instruments: Instruments | None = None,
) -> Solved:
    """Return the front of a run's candidates under other limits, or on another target. Nothing is trained.

    All trainings of the run that ran to their end are compared. On the run's own target, values are those that the run
    measured, else those that it predicted. On another target, or for a metric that the run did not measure, a few
    candidates are measured, the others are predicted from them and the run's own, and then members of the front are
    measured. In a table all are looked up. Measurements are kept in the run's folder for the same call.

    Args:
        folder: the folder of a run, finished or not.
        limits: what has to hold, such as ``["latency_ms <= 1ms"]``; by default the run's own limits.
        objectives: what is minimised; by default the run's own objectives.
        target: another target, or another device of the run's table.
        measure: how many architectures may be measured for this run on the target, earlier calls included; by default
            10 where a target or a metric is new, else 0; in a table all.
        space: the space, or its name, if ``search`` was given one. It is needed only to measure.
        data: the data, if ``search`` was given some. They are needed only for an int8 target.
        trust: let code run that the run names as ``module:Name``. Only measuring runs it.
        fresh: ignore measurements that other runs kept.
        as_run: the folder of a new run to write, with the candidates and what is known of them on the target.
            ``nas.resume`` then retrains, exports, measures and tests its winners.
        progress: as in ``search``.
        instruments: a bench and clocks, for tests.

    Raises:
        NasError: a failure of the tree in ``nas.errors``. Limits that nothing meets are no failure: see ``unmet``.

    Example::

        solved = nas.solve("runs/digits-mobilenet", ["latency_ms <= 30us"])
        print(solved)
    """
    folder = run_folder_of(folder)
    asked = asked_of(read_run(folder), limits, objectives, target, measure)
    known = _own(asked)
    if as_run is not None:
        check_new(Path(as_run))
    if target is not None or asked.measures(known):
        from nas.searching.solving.measuring import measured_and_predicted  # it loads torch, which takes seconds

        with contextlib.closing(chosen_progress(progress)) as shown, _free_to_miss(asked, known) as missed:
            known = measured_and_predicted(asked, space, data, shown, instruments, trust=trust, fresh=fresh)
        known = replace(known, told=(*known.told, *missed))
    solved = _solved(asked, known)
    return solved if as_run is None else _written(solved, asked, known, Path(as_run), instruments)


def _own(asked: Asked) -> Seeded:
    """Return what is known of the run's own target: by the run, and by what was measured for it later.

    Raises:
        JournalError: no training of the run has ended.
        RecipeError: a trained metric is asked for that the run did not find.
    """
    run = asked.run
    folder = later_folder(run.run_folder, run.recipe.measured_on, own_fingerprint(run))
    known = seeded(run, is_new=False, later=later_rows(folder))
    if not known.points:
        raise JournalError(
            f"a run is solved by its candidates, but {run.run_folder} has none whose training ran to its end."
        )
    check_trained(asked, known.points)
    return known


@contextlib.contextmanager
def _free_to_miss(asked: Asked, known: Seeded) -> Iterator[list[str]]:
    """Go on with what a run knows where nobody asked for more, but what is free to look up cannot be.

    Yields a list that then holds a sentence about it: a table may be gone, or a space of one's own missing.
    """
    missed: list[str] = []
    is_asked = asked.target is not None or asked.measure is not None or bool(asked.lacking(known))
    try:
        yield missed
    except (RecipeError, SpaceError, JournalError) as error:
        if is_asked or not asked.place.is_free:
            raise
        missed.append(f"Some values are predicted, because they could not be looked up: {error}")


def _solved(asked: Asked, known: Seeded) -> Solved:
    run, points = asked.run, known.points
    front = front_points(points, asked.objectives, asked.limits)
    unmet, nearest = ((), None) if front else unmet_of(asked.objectives, asked.limits, points)
    return Solved(
        objectives=asked.objectives,
        limits=asked.limits,
        target=asked.recipe.measured_on_all,
        points=front,
        candidates=points,
        run_folder=run.run_folder,
        measured=len(known.measured_later),
        newly_measured=known.newly_measured,
        unmet=unmet,
        nearest=nearest,
        improvements=improvements_of(asked, points, front),
        notes=tuple(notes_of(asked, known, front)),
        table=run.table,
        words=run.words,
    )


def _written(solved: Solved, asked: Asked, known: Seeded, folder: Path, instruments: Instruments | None) -> Solved:
    """Write a run whose search has ended, and return the front with a note that tells how to go on with it."""
    if instruments is None:
        clock, device = time.time, device_of(asked.recipe.parsed_target)
    else:
        clock, device = instruments.clock, instruments.device_of(asked.recipe.parsed_target)
    write_as_run(asked, known, folder, clock, device)
    return replace(solved, notes=(*solved.notes, went_on(folder, asked)))
