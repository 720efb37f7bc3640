"""``shrink``: a search in the space of one trained model's parts, with settings that suit inherited weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from nas.errors import RecipeError
from nas.progress import NullProgress
from nas.recipe.problems import checked_keys
from nas.recipe.recipe import Recipe
from nas.recipe.toml_text import read_toml
from nas.recipe.ways import OPEN, TUNED_EPOCHS
from nas.reports.progress_display import ProgressChoice
from nas.results.data_of_run import source_of
from nas.results.front import Front
from nas.searching.instruments import Instruments
from nas.searching.precisions.choosing import with_usual_precisions
from nas.searching.run import search
from nas.searching.user_inputs.objects import GivenData, task_of, with_given_names
from nas.space.parts.candidate import PLAIN
from nas.space.plug_ins import load_plug_in
from nas.space.search_space import make_space

SPACE = "shrunk"
FOLDER = "folder:"
PRETRAINED = "pretrained"
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    # Weights that are inherited need few epochs, and a rate that does not destroy them.
    "training": {"epochs": 2, "learning_rate": 1e-3, "distillation_weight": 0.7},
    "retraining": {"epochs": TUNED_EPOCHS},
}
"""Keys of a recipe that suit inherited weights, where it does not give them."""
SHARED: Mapping[str, Any] = {"retraining": {"epochs": TUNED_EPOCHS // 2, "start": "supernet"}}
"""The same where candidates share one tuning of the parent."""
WITHOUT_TIME: Mapping[str, Any] = {"trials": 1000, "supernet": {"epochs": 12}}
"""How many candidates share how long a tuning. In a search with a time, the time decides."""
IN_TIME: Mapping[str, Any] = {"supernet": {"epochs": 200, "check": 4}}


def shrink(
    parent: str | torch.nn.Module,
    recipe: Recipe | Mapping[str, Any] | Path | str | None = None,
    *,
    weights: Path | str | None = None,
    data: GivenData | str | None = None,
    limits: Sequence[str] | str | None = None,
    runs: Path | str = "runs",
    progress: ProgressChoice = "auto",
    instruments: Instruments | None = None,
) -> Front:
    """Make a trained model smaller until it meets limits, and return the front of what was found, with the parent.

    Args:
        parent: a torch module with its weights, ``module:function`` that returns one, or ``timm:NAME``.
        recipe: further keys of a recipe, or the path of a TOML file. Its space may hold options of ``shrunk``.
        weights: a file with the parent's weights, such as ``weights.safetensors``.
        data: the name of data such as ``folder:photos``, a task, or three torch data sets.
        limits: limits such as ``latency_ms <= 5ms``, or a single one.
        runs: as in ``search``.
        progress: as in ``search``.
        instruments: as in ``search``.

    Raises:
        NasError: as in ``search``; RecipeError if the parent cannot be made, or its weights do not fit.

    Example::

        model = torch.nn.Sequential(
            torch.nn.Conv2d(1, 32, 3, padding=1), torch.nn.BatchNorm2d(32), torch.nn.ReLU(),
            torch.nn.Conv2d(32, 32, 3, stride=2, padding=1), torch.nn.BatchNorm2d(32), torch.nn.ReLU(),
            torch.nn.Flatten(), torch.nn.Linear(512, 10),
        )
        front = nas.shrink(model, {"trials": 6}, data="digits", limits=["latency_ms <= 1ms"])
        print(front)
    """
    values = _values_of(recipe)
    if not isinstance(parent, (str, torch.nn.Module)):
        raise RecipeError(f"a parent is a torch module, module:function or timm:NAME, but got {parent!r:.80}.")
    if isinstance(data, str):
        values["data"] = {**_table(values.get("data")), "name": data}
    if limits is not None:
        values["limits"] = [limits] if isinstance(limits, str) else list(limits)
    objects = None if isinstance(data, str) else data
    if isinstance(parent, str):
        complete = shrinking_recipe(values, parent, weights, instruments)
        return search(complete, data=objects, runs=runs, progress=progress, instruments=instruments)
    given = {"parent": parent, **({} if weights is None else {"weights": str(weights)})}
    options = {**_for_photos(values, is_named=False), **_options(values), **given}
    values.pop("space", None)
    complete = _with_precisions(_with_defaults(values), instruments)
    task = task_of(objects, complete.data)
    source = source_of(with_given_names(complete, None, objects), task)
    with closing(NullProgress()) as silent:
        signature = source.load(silent).signature
    space = make_space(load_plug_in("nas.search_spaces", SPACE, "search space"), SPACE, options, signature)
    return search(complete, space=space, data=objects, runs=runs, progress=progress, instruments=instruments)


def shrinking_recipe(
    values: Mapping[str, Any],
    parent: str,
    weights: Path | str | None = None,
    instruments: Instruments | None = None,
) -> Recipe:
    """Return the recipe for shrinking a parent that a name stands for. Raises RecipeError if it makes no sense."""
    space = {**_for_photos(values, is_named=True), **_options(values), "name": SPACE, "parent": parent}
    if weights is not None:
        # A resumed run may be started in another folder.
        space["weights"] = (
            PRETRAINED if str(weights) == PRETRAINED else str(Path(os.path.expanduser(weights)).resolve())
        )
    return _with_precisions(_with_defaults({**values, "space": space}), instruments)


def _for_photos(values: Mapping[str, Any], *, is_named: bool) -> dict[str, Any]:
    """Return options that let folders of pictures be seen at lower resolutions, and let new heads see all stages.

    Neither costs a parent channels. With a teacher there are no lower resolutions, because that sees pictures as the
    data have them. The head of a parent that no name stands for is its maker's.
    """
    if not str(_table(values.get("data")).get("name", "")).startswith(FOLDER):
        return {}
    has_teacher = any(_table(values.get(stage)).get("teacher") for stage in ("training", "retraining"))
    return {**({"features": "stages"} if is_named else {}), **({} if has_teacher else {"sizes": "lower"})}


def _options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a recipe gives the space. Raises RecipeError if it names another space."""
    space = _table(values.get("space"))
    name = space.pop("name", SPACE)
    if name != SPACE:
        raise RecipeError(
            f"shrink searches the space {SPACE!r}, but the recipe names {name!r}. Leave space.name out, or use search."
        )
    return space


def _with_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    is_timed = values.get("search_time_s") is not None
    found = {"evaluate": OPEN, **values} if values.get("trials") != 0 else dict(values)
    shared: Mapping[str, Any] = {}
    if found.get("evaluate") == "supernet":
        shared = {**SHARED, **(IN_TIME if is_timed else WITHOUT_TIME)}
    elif found.get("evaluate") == OPEN and is_timed:
        shared = IN_TIME
    for name, usual in {**DEFAULTS, **shared}.items():
        found[name] = {**usual, **_table(values.get(name))} if isinstance(usual, Mapping) else values.get(name, usual)
    return found


def _with_precisions(values: Mapping[str, Any], instruments: Instruments | None) -> Recipe:
    """Return the recipe, which chooses the precision of forms too where nothing speaks against it."""
    tools = instruments or Instruments()
    if tools.bench is not None or tools.benches:  # it measures in its own precision
        return Recipe.from_mapping(values)
    return with_usual_precisions(values, tools.device_of)


def _table(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        return {"name": value}
    return dict(value) if isinstance(value, Mapping) else {}


def _values_of(recipe: Recipe | Mapping[str, Any] | Path | str | None) -> dict[str, Any]:
    """Return the keys that a recipe gives, without defaults.

    A ``Recipe`` does not tell if its targets name fp32, which is the default. So they are taken to leave it open.
    """
    if recipe is None:
        return {}
    if isinstance(recipe, Recipe):
        values = recipe.model_dump(exclude_unset=True)
        found = {name: each for name, each in values.items() if name in ("target", "further_targets")}
        return {**values, **{name: _without_plain(each) for name, each in found.items()}}
    return dict(checked_keys(read_toml(Path(recipe)) if isinstance(recipe, str | Path) else recipe))


def _without_plain(target: Any) -> Any:
    if isinstance(target, str):
        return ":".join(part for part in target.split(":") if part != PLAIN)
    return tuple(map(_without_plain, target))
