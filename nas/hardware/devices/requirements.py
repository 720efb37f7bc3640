"""What a board must have for an agent to run there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEAST_PYTHON = (3, 11)


def why_unfit(board: Mapping[str, Any]) -> str:
    """Return why no agent can run on a board, and what to do about it; empty if one can."""
    python = tuple(board["python"])
    told = ".".join(map(str, python))
    if board["problem"]:
        return f"its folder cannot be written ({board['problem']}): name another with --folder"
    if python < LEAST_PYTHON:
        return (
            f"Python must be at least {'.'.join(map(str, LEAST_PYTHON))}, but it has {told}: install a newer one "
            "beside it, such as python3.12, and name it with --python"
        )
    if board["implementation"] != "CPython":
        return f"Python must be CPython, but it has {board['implementation']}"
    if board["bits"] != 64:
        return f"its system is of {board['bits']} bits, for which runtimes have no packages: install a 64-bit system"
    if board["noexec"]:
        return f"no library can be loaded from {board['folder']}, which is mounted noexec: name another with --folder"
    return ""
