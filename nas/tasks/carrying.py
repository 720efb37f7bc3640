"""The files of code that a bundle carries, so that it runs without this project."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.tasks.deployed.predict import loaded_preparation

if TYPE_CHECKING:  # a task needs torch, and bundles are read without it
    from nas.tasks.task import Preparation

_PACKAGE = "nas.tasks.deployed."
ALWAYS = ("predict", "inputs")
"""The modules that every bundle carries."""


def carried_files(preparation: Preparation) -> dict[str, bytes]:
    """Return the files by name: ``predict.py``, and the module in which the preparation is written, with what it uses.

    Modules of this package import each other by their names alone there.
    """
    folder = resources.files(_PACKAGE.rstrip("."))
    written = Path(inspect.getfile(type(preparation)))
    sources = {written.name: written.read_text(encoding="utf-8")}
    waiting = [*ALWAYS, *_neighbours(sources[written.name])]
    while waiting:
        name = waiting.pop()
        if f"{name}.py" not in sources:
            sources[f"{name}.py"] = folder.joinpath(f"{name}.py").read_text(encoding="utf-8")
            waiting += _neighbours(sources[f"{name}.py"])
    return {name: source.replace(f"from {_PACKAGE}", "from ").encode() for name, source in sorted(sources.items())}


def _neighbours(source: str) -> list[str]:
    """Return the names of the modules of the package that carries code to bundles which a module imports."""
    return re.findall(rf"^from {re.escape(_PACKAGE)}(\w+) import", source, re.MULTILINE)


def is_carried(preparation: Preparation) -> bool:
    """Return True for a preparation of this project, which any version of it can make again from a bundle."""
    return type(preparation).__module__.startswith(_PACKAGE)


def recorded(preparation: Preparation) -> dict[str, Any]:
    """Return a preparation as an ``architecture.json`` records it, with the module in which it is written."""
    return {"module": Path(inspect.getfile(type(preparation))).stem, **preparation.to_json()}


def packages_of(preparation: Preparation) -> list[str]:
    """Return the packages beside numpy that a preparation needs, as ``PACKAGES`` of its module names them for pip."""
    return list(getattr(inspect.getmodule(type(preparation)), "PACKAGES", ()))


def preparation_in(about: Mapping[str, Any]) -> Preparation:
    """Return the preparation that an ``architecture.json`` records; before 0.8 all were of pictures.

    Raises KeyError, TypeError or ValueError if there is none that this version knows.
    """
    stored = {"module": "pictures", **about.get("preparation", {})}
    if resources.files(_PACKAGE.rstrip(".")).joinpath(f"{stored['module']}.py").is_file():
        found: Preparation = loaded_preparation({**about, "preparation": stored})
        return found
    raise ValueError(f"the preparation {stored['module']!r} comes from elsewhere: use the predict.py of the bundle.")
