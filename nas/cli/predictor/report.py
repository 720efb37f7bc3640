"""``nas predictor report``: how far a predictor can be trusted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli import options
from nas.cli.output import check_page, json_alone, show_trust
from nas.errors import JournalError, RecipeError

if TYPE_CHECKING:
    from nas.recipe.recipe import Recipe
    from nas.tables.named_space import NamedSpace

REPORT_FILE = Path("predictor_report.html")
TABLE_PREDICTOR = "stacked"


def report(
    measured: options.RunOrTable,
    metric: options.ReportedMetrics = None,
    space: options.TableSpace = None,
    input_shape: options.InputShape = None,
    classes: options.Classes = None,
    option: options.SpaceOptions = None,
    target: options.Device = None,
    predictor: options.ReportedPredictor = None,
    limit: options.Limits = None,
    sources: options.ReportSources = None,
    samples: options.MostSamples = None,
    out: options.ReportPage = None,
    seed: options.ReportSeed = None,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
) -> None:
    """Report how far a predictor can be trusted.

    The predictor is fitted to the measurements of a run or a table, and cross-validation shows its errors. The report
    also names the architectures to measure next.
    """
    from nas.prediction.measured_run import check_trusted, code_in, device_of_run, recipe_of_run
    from nas.prediction.trust_request import TrustRequest
    from nas.reports.progress_display import choose_progress
    from nas.storage.output_files import is_plain
    from nas.tables.named_architectures import FILE, with_named, write_next
    from nas.tables.named_space import space_of_table
    from nas.tables.table_device import device_in_file
    from nas.values.metric import metric_named
    from nas.values.objective import Limit

    metrics, limits = [metric_named(name).name for name in metric or []], [Limit.parse(text) for text in limit or []]
    measured = _run_or_table(measured)
    usual = measured / REPORT_FILE if measured.is_dir() else REPORT_FILE
    check_page(page := out or usual, "--out")
    with json_alone(as_json), closing(choose_progress(sys.stdout, as_json)) as progress, ExitStack() as held:
        if measured.is_dir():
            _refuse_options_of_tables(target, sources, input_shape, classes, option)
            recipe = recipe_of_run(measured, progress.say)
            named = (code_in(recipe) if space is None else []) + [recipe.predictor.name] * (predictor is None)
            check_trusted(measured, named, trust)
            predictor_options = recipe.predictor.options if predictor is None else {}
            predictor, seed = predictor or recipe.predictor.name, recipe.seed if seed is None else seed
            searched = _space_of_run(measured, recipe, space)
            described, look = held.enter_context(searched.described(progress.say, recipe.execution.first_look_limit_s))
            data = device_of_run(measured, recipe, described.space, look, searched.signature, metrics, seed)
            data = with_named(data, measured)
        else:
            predictor, seed, predictor_options = predictor or TABLE_PREDICTOR, seed or 0, {}
            searched = space_of_table(measured, space, option or [], input_shape, classes)
            described, _ = held.enter_context(searched.described(progress.say))
            data = device_in_file(measured, described, target, metrics, options.names_in(sources), seed, progress.say)
        request = TrustRequest(predictor, limits, seed, samples, predictor_options)
        reports = request.report_on(data, progress)
    facts = {"measurements": str(measured), "predictor": predictor, "seed": str(seed)}
    place = (page if is_plain(page) else usual).with_name(FILE)
    several = measured.is_dir() and bool(recipe.further_targets)  # nas measure keeps no table of such a run
    command = None if several else write_next(reports, place, searched, described.space, data.target, measured)
    show_trust(reports, page, measured.name or str(measured), facts, as_json, next_command=command)


def _run_or_table(given: Path) -> Path:
    """Return the path of a run or a table; the name alone is enough for a run in the usual folder."""
    from nas.results.run_folder import run_folder_of

    if given.exists():
        return given
    try:
        return run_folder_of(given)
    except JournalError:
        raise RecipeError(f"a report is on the folder of a run or on a table, but {given} does not exist.") from None


def _space_of_run(folder: Path, recipe: Recipe, space: str | None) -> NamedSpace:
    from nas.prediction.measured_run import signature_of_run
    from nas.results.bundle import GIVEN
    from nas.tables.named_space import NamedSpace
    from nas.tables.row_space import with_table

    was_given = recipe.space.name == GIVEN
    if was_given and space is None:
        raise RecipeError(
            f"the run {folder} was started with a space object: name its class with --space my_module:MySpace."
        )
    signature = signature_of_run(folder, recipe)
    space_options = {} if was_given else recipe.space.options
    name = space or recipe.space.name
    return NamedSpace(name, with_table(name, space_options, recipe.table.path), signature)


def _refuse_options_of_tables(
    target: str | None, sources: str | None, input_shape: str | None, classes: int | None, option: Sequence[str] | None
) -> None:
    values = {"--target": target, "--sources": sources, "--input-shape": input_shape, "--classes": classes}
    given = [name for name, value in values.items() if value is not None] + (["--option"] if option else [])
    if given:
        raise RecipeError(f"a run has its own target, shapes and options, but got {given[0]}, which is for tables.")
