"""Small spaces that commands take for some of the project, so that no process of its own looks at them first."""

from __future__ import annotations

import pytest

from nas.space.plug_ins import is_own

SMALL = ("tiny_space:TinySpace", "table_space:Chain")


def take_for_the_project_s(patch: pytest.MonkeyPatch) -> None:
    """Make commands in this process look at the small spaces in this process too."""
    for module in ("nas.space.first_look", "nas.searching.resolving"):
        patch.setattr(f"{module}.is_own", lambda group, name: name not in SMALL and is_own(group, name))
