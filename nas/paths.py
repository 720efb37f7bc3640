"""The usual folder of runs, and a check before a file is opened: a named pipe would wait for its writer for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path

RUNS = Path("runs")
"""The folder that holds the run folders, unless another is named."""


def why_no_file(path: Path) -> str | None:
    """Return why ``path`` leads to no regular file, as in "… does not exist", or None if it leads to one."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "does not exist"
    except ValueError:  # a NUL character, which no system takes
        return "cannot be the name of a file"
    except OSError as error:  # a link to itself, a name that is too long, a folder that may not be entered
        return f"cannot be opened: {error.strerror}"
    if stat.S_ISREG(mode):
        return None
    kinds = {stat.S_IFDIR: "is a folder", stat.S_IFIFO: "is a named pipe", stat.S_IFSOCK: "is a socket"}
    return kinds.get(stat.S_IFMT(mode), "is a device")
