"""``nas list``: every name that a recipe accepts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from nas.cli import options
from nas.cli.output import print_json

CLASS = "A class of your own."
PLUG_INS = {
    "tasks, for --task": ("nas.tasks", {"my_module:MyTask": CLASS}),
    "search spaces, for --space": ("nas.search_spaces", {"my_module:MySpace": CLASS}),
    "targets, for --target": ("nas.runtimes", {"my_module:MyRuntime": CLASS}),
    "predictors, for --set predictor=NAME": ("nas.predictors", {"my_module:fit": "A function of your own."}),
    "exports, for nas export --format": ("nas.exports", {"my_module:MyExport": CLASS}),
    "samplers, for --sampler": ("nas.samplers", {"my_module:MySampler": "A class or a function of your own."}),
}


def list_names(as_json: options.AsJson = False) -> None:
    """List every name that a recipe accepts.

    nas target list shows which targets work on this machine, and nas search --dry-run shows all keys of a recipe.
    """
    if as_json:
        print_json({title.partition(",")[0].replace(" ", "_"): names for title, names in _sections()})
        return
    from rich.console import Console
    from rich.text import Text

    from nas.reports.console import print_pairs

    console = Console(file=sys.stdout)
    for number, (title, names) in enumerate(_sections()):
        if number:
            console.print()
        console.print(Text(f"{title[0].upper()}{title[1:]}:", style="bold"))
        print_pairs(names.items(), console, indent=2)


def _sections() -> Iterator[tuple[str, Mapping[str, str]]]:
    from nas.cli.plug_in_summaries import known_data, plug_in_summaries
    from nas.values.metric import METRICS

    for task, names in known_data().items():
        own = {"folder:PATH": "Images of your own, in one folder for each class."} if task == "images" else {}
        yield "data sets, for --data" if task == "images" else f"data of the task {task}, for --data", {**names, **own}
    for title, (group, own) in PLUG_INS.items():
        yield title, {**plug_in_summaries(group), **own}
    yield (
        "metrics, for --objective and --limit",
        {
            metric.name: f"{metric.title.partition(' (')[0]}, {metric.source}"
            f"{f': {metric.meaning}' if metric.meaning else ''}. "
            f"A limit is written like {metric.name}<={metric.example}"
            for metric in METRICS.values()
        },
    )
    yield "other keys, with a fixed set of names, for --set KEY=NAME", dict(_named_values())


def _named_values() -> Iterator[tuple[str, str]]:
    """The dotted keys of a recipe that accept a fixed set of names, each with these names and its description."""
    from nas.cli.plug_in_summaries import first_sentence
    from nas.recipe.problems import key_fields
    from nas.recipe.recipe import Recipe

    for key, field in key_fields(Recipe):
        names = _names_in(field.annotation)
        if names:
            yield key, f"{', '.join(names)}. {first_sentence(field.description or '')}"


def _names_in(annotation: Any) -> list[str]:
    """The names in a Literal, or in a union with one."""
    if get_origin(annotation) is Literal:
        return [str(name) for name in get_args(annotation)]
    return [name for part in get_args(annotation) for name in _names_in(part)]
