"""The first sentence of a plug-in's docstring, read from its source without importing it; and the data of tasks."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path


def plug_in_summaries(group: str) -> dict[str, str]:
    """Return the registered names of an entry-point group, sorted, each with its summary; "" if it has none."""
    paths = {entry.name: entry.value for entry in entry_points(group=group)}
    return {name: summary_of(paths[name]) for name in sorted(paths)}


def summary_of(path: str) -> str:
    """Return the first sentence of the docstring of what stands at ``module:Name``."""
    module, _, name = path.partition(":")
    try:
        spec = importlib.util.find_spec(module)
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8")) if spec and spec.origin else None
    except (ImportError, OSError, ValueError, SyntaxError):  # a broken plug-in is still listed by its name
        return ""
    found = [
        ast.get_docstring(node) or ""
        for node in (tree.body if tree else ())
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name
    ]
    return first_sentence(found[-1]) if found else ""


def known_data() -> dict[str, Mapping[str, str]]:
    """Return the data that tasks of this project know by name, each with its summary, by task.

    They stand in ``DATA_SETS`` of the module ``well_known`` beside the one that loads the task, which needs no torch.
    """
    found: dict[str, Mapping[str, str]] = {}
    for entry in sorted(entry_points(group="nas.tasks"), key=lambda entry: (entry.name != "images", entry.name)):
        module = f"{entry.module.rpartition('.')[0]}.well_known"
        if module.startswith("nas.tasks.") and importlib.util.find_spec(module) is not None:
            found[entry.name] = importlib.import_module(module).DATA_SETS
    return found


def first_sentence(text: str) -> str:
    """Return the first sentence of a docstring on one line, without markup for code and a leading "Return"."""
    paragraph = " ".join(text.split("\n\n", maxsplit=1)[0].split()).replace("``", "").removeprefix("Return ")
    sentence = re.split(r"(?<=[.!?])\s+(?=[A-Z])", paragraph, maxsplit=1)[0]
    return sentence[:1].upper() + sentence[1:]
