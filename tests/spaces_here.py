"""Small spaces that commands take for some of the project, so that no process of its own looks at them first."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from nas.space.plug_ins import is_own

SMALL = ("tiny_space:TinySpace", "table_space:Chain")
FAULTY = ("fault_spaces:Faulty",)


def take_for_the_project_s(patch: pytest.MonkeyPatch, names: Collection[str] = SMALL) -> None:
    """Make commands in this process look at the small spaces in this process too."""
    for module in ("nas.space.first_look", "nas.searching.resolving"):
        patch.setattr(f"{module}.is_own", lambda group, name: name not in names and is_own(group, name))


def take_small_here() -> None:
    """Look at the small spaces in this process, which ends with its command."""
    take_for_the_project_s(pytest.MonkeyPatch())


def take_faulty_here() -> None:
    """Look in this process at the space whose architectures fail, where they fail only later."""
    take_for_the_project_s(pytest.MonkeyPatch(), FAULTY)
