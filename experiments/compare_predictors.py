"""``python -m experiments.compare_predictors`` compares predictors on a table of measured architectures.

    python -m experiments.compare_predictors --table T.csv.gz --space nasbench201 --json OUT.json
        --sources 1080ti_1,silver_4114 --targets gold_6240,titanx_32 --metric latency_ms --samples 10,20 --seeds 20

It prints Markdown tables of means. ``--json`` holds every figure, ``--predictions`` every prediction. Devices are named
as in the columns of the table: with ``--metric latency_ms`` the target ``x`` is the column ``latency_ms_x``.

Rows. With ``--space table`` the rows are the space: ``--choices`` names columns of texts or numbers that tell rows
apart, and ``--features`` numbers that are known of all rows. Predictors also get the columns of ``--prior``.

Samples. The number of samples counts every measurement on the target. Samples come from the rows outside ``--query``,
by default from all rows. All methods get the same samples. By default they are chosen by the rule of ``nas predictor
onboard``: a seed draws half of the rows, up to 1,000, and those are taken that tell most of all of these. With more
than 200 samples, or with ``--choose random``, the samples are rows drawn at random. Without ``--query``, all rows that
were not sampled are predicted. Methods see the values of a source in the first ``--source-rows`` rows only; of rows as
a space they see all.

Sources that mislead. ``--shuffled`` names sources whose values are shuffled among their architectures. ``--noise N``
adds N sources of random numbers. A predictor should do no worse with them than without.

Outliers. With ``--outlier F``, one of the sampled values is multiplied by F, at random.

Figures. All figures are about the scored rows: the predicted rows without the fastest and the slowest ``--trim`` share.
For broken limits, the 10, 25, 50, 75 and 90 % quantiles of the true values serve as limits, one after another. A limit
lets an architecture through if its predicted bound is at most the limit. The figure is the share of these whose true
value exceeds the limit. Times of fits and speeds of predictions leave out describing the architectures, and what a
method keeps of the sources from an earlier fit.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.command_line import names, parser_of, positive
from experiments.table_options import add_table_options, check_table_options
from experiments.table_prediction.fits import compare_all
from experiments.table_prediction.results import predictions_file, summary
from experiments.table_prediction.study import PredictorSettings, study_of
from nas.errors import NasError, RecipeError
from nas.hardware.machine import processor_name
from nas.prediction.predictor import MIN_SAMPLES
from nas.space.plug_ins import plug_in_names
from nas.storage.journal import write_aside


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare predictors, write the files, and print the tables."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings = _settings(options)
        study = study_of(settings)
        for path in (options.json, options.predictions):
            if path is not None and not path.parent.is_dir():
                raise RecipeError(f"a file must be written to a folder that exists, but {path.parent} does not.")
    except NasError as error:
        parser.error(str(error))
    for note in study.notes:
        print(note, file=sys.stderr)
    rows: list[dict[str, Any]] = []
    with predictions_file(options.predictions) as add:
        for number, outcomes in enumerate(compare_all(settings, options.jobs), start=1):
            for outcome in outcomes:
                add(outcome)
                rows.append(outcome.to_json())
            if options.json is not None:
                write_aside(options.json, _text(settings, rows, complete=number == len(settings.targets)).encode())
    print(summary(rows))


def _text(settings: PredictorSettings, rows: Sequence[dict[str, Any]], *, complete: bool) -> str:
    """Return the JSON file; ``complete`` is false while targets are still missing."""
    packages = ("numpy", "scipy", "scikit-learn")
    content = {
        "complete": complete,
        "settings": settings.to_json(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "processor": processor_name(),
        "rows": rows,
    }
    return json.dumps(content, indent=1, allow_nan=False)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("compare_predictors", __doc__)
    add_table_options(parser, prior="columns known for every row, which predictors get beside the layers")
    parser.add_argument("--metric", default="latency_ms", help="such as latency_ms or energy_mj")
    parser.add_argument("--targets", type=names, required=True, help="devices, separated by commas")
    parser.add_argument(
        "--shuffled", type=names, default=(), metavar="DEVICE[,DEVICE]", help="sources whose values are shuffled"
    )
    parser.add_argument("--noise", type=positive, default=0, metavar="N", help="further sources, of random numbers")
    parser.add_argument("--outlier", type=_factor, metavar="F", help="multiply one sampled value by this factor")
    parser.add_argument("--given", metavar="METRIC", help="a metric of the target that is known for every row")
    parser.add_argument("--samples", type=_counts, required=True, help="numbers of samples, such as 10,20,50")
    parser.add_argument("--seeds", type=positive, default=20, help="number of seeds, counted from 0")
    parser.add_argument("--query", type=_rows, metavar="A:B", help="rows to predict, from A to B − 1")
    parser.add_argument("--trim", type=_trim, default=0.0, metavar="SHARE", help="share not scored at each end")
    parser.add_argument("--methods", type=names, help="registered predictors, or module:name; default: all that apply")
    parser.add_argument(
        "--choose", choices=("informative", "random"), default="informative", help="how samples are chosen"
    )
    parser.add_argument("--json", type=Path, help="file for every figure")
    parser.add_argument("--predictions", type=Path, metavar="OUT.npz", help="file for every prediction")
    parser.add_argument("--jobs", type=positive, default=1, help="processes; each handles one target at a time")
    return parser


def _settings(options: argparse.Namespace) -> PredictorSettings:
    """Return the settings of a parsed command line. Raises RecipeError if options contradict each other."""
    both = [name for name in options.targets if name in options.sources]
    if both:
        raise RecipeError(f"a target must not be one of its own sources, but {both[0]!r} is in both.")
    check_table_options(options)
    strange = [name for name in options.shuffled if name not in options.sources]
    if strange:
        raise RecipeError(f"--shuffled must name some of the --sources, but {strange[0]!r} is none of them.")
    if options.given == options.metric:
        raise RecipeError(f"--given must be a different metric than --metric, but both are {options.given!r}.")
    methods = options.methods
    if methods is None:
        informed = bool(options.sources or options.noise or options.prior) or options.given is not None
        methods = tuple(name for name in plug_in_names("nas.predictors") if informed or name != "transfer")
    values = {name: value for name, value in vars(options).items() if name not in ("json", "predictions", "jobs")}
    return PredictorSettings(**{**values, "methods": methods, "option": tuple(options.option)})


def _counts(text: str) -> tuple[int, ...]:
    counts = tuple(int(part) for part in text.split(",")) if re.fullmatch(r"[0-9]+(,[0-9]+)*", text) else ()
    if not counts or min(counts) < MIN_SAMPLES or len(set(counts)) < len(counts):
        raise argparse.ArgumentTypeError(
            f"must be distinct whole numbers of at least {MIN_SAMPLES}, such as 10,20, but got {text!r}."
        )
    return counts


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, such as 100 or 0.01, but got {text!r}.")
    return factor


def _rows(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+):([0-9]+)", text)
    if match is None or int(match[1]) >= int(match[2]):
        raise argparse.ArgumentTypeError(f"must be two increasing rows, such as 900:1900, but got {text!r}.")
    return int(match[1]), int(match[2])


def _trim(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share < 0.5:
        raise argparse.ArgumentTypeError(f"must be a share of at least 0 and below 0.5, but got {text!r}.")
    return share


if __name__ == "__main__":
    main()
