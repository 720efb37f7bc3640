"""The folder for what is kept across runs: measurements, targets' profiles, environments of runtimes."""

from __future__ import annotations

import os
from pathlib import Path

from nas.errors import RecipeError


def home() -> Path:
    """``$NAS_HOME`` where it is set, else the platform's place for a user's data. It may not exist yet.

    Raises:
        RecipeError: ``$NAS_HOME`` names the home of a user that this system does not know, or a file.
    """
    given = os.environ.get("NAS_HOME")
    if not given:
        import platformdirs

        return platformdirs.user_data_path("nas")
    try:
        found = Path(given).expanduser().absolute()
    except RuntimeError as error:
        raise RecipeError(f"NAS_HOME must be a folder, but got {given!r}: {error}") from error
    existing = next((each for each in (found, *found.parents) if os.path.lexists(each)), found.parent)
    if not existing.is_dir():
        raise RecipeError(f"NAS_HOME must be a folder, but got {given!r}, and {existing} is none. Choose another one.")
    return found
