"""The data of the desk table: real sets that come with packages, named as a user names them on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nas
from experiments.pretrained import PARENT

GROUPS = ("photos", "series", "tables", "text")
SIZES = (64, 96, 128)
"""The sides of photos in pixels, for the search and for the simple models."""
SERIES = {name: f"{name.removesuffix('_eq')}/{name}_TRAIN.ts" for name in ("ArrowHead", "JapaneseVowels_eq", "OSULeaf")}
TABLES = {
    "breast-cancer": ("", "", {}),
    "fair": ("statsmodels", "fair/fair.csv", {"target": "rate_marriage", "kind": "classification"}),
    "randhie": ("statsmodels", "randhie/randhie.csv", {"target": "mdvis", "kind": "regression"}),
}
"""By name: the package, the file within its folder ``datasets``, and options of the data."""

LIBRARY, HELP = "python-library", "python-help"


@dataclass(frozen=True)
class DataSet:
    """Data as a user names them: the task, the name or the path, and options. ``search`` are further arguments."""

    name: str
    group: str
    task: str
    data: str
    options: Mapping[str, Any] = field(default_factory=dict)
    search: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """The arguments of ``nas search`` that name the data and the space."""
        settings = [f"data.{name}={value}" for name, value in self.options.items()]
        given = [part for setting in settings for part in ("--set", setting)]
        return ["--task", self.task, "--data", self.data, *given, *self.search]

    def load(self) -> nas.Task:
        """Return the same data in the same splits as the command loads them."""
        options = json.dumps(self.options, sort_keys=True)
        return nas.DataSource(name=self.data, task=self.task, options=options).load()


def photos(name: str, folder: Path, weights: Path) -> DataSet:
    """Return a folder of photos, to be searched among sizes of the pretrained parent."""
    space = {"models": [PARENT], "weights": str(weights.absolute()), "resolutions": list(SIZES)}
    settings = [part for key, value in space.items() for part in ("--set", f"space.{key}={json.dumps(value)}")]
    return DataSet(name, "photos", "images", f"folder:{folder.absolute()}", search=("--space", "timm", *settings))


def series(name: str) -> DataSet:
    """Return a set of series of aeon. Raises SystemExit if it is not installed."""
    return DataSet(name, "series", "signals", str(_folder_of("aeon") / "datasets" / "data" / SERIES[name]))


def table(name: str) -> DataSet:
    """Return a table of scikit-learn or of statsmodels. Raises SystemExit if that is not installed."""
    package, path, options = TABLES[name]
    data = str(_folder_of(package) / "datasets" / path) if package else name
    return DataSet(name, "tables", "tables", data, options)


def text(name: str, folder: Path) -> DataSet:
    """Return Python's library, or Python's help in plain English, which is written to a folder as a file a topic."""
    if name == LIBRARY:
        return DataSet(name, "text", "text", "python")
    from pydoc_data.topics import topics

    folder.mkdir(parents=True, exist_ok=True)
    for title, page in topics.items():
        path = folder / f"{title}.txt"
        if not path.exists():
            nas.write_aside(path, page.encode())
    return DataSet(name, "text", "text", str(folder.absolute()))


def _folder_of(package: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"some data come with {package}: pip install {package}. Or choose others with --only.")
    return Path(spec.origin).parent
