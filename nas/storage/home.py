"""The folder for what is kept across runs: measurements, targets' profiles, environments of runtimes."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """``$NAS_HOME`` where it is set, else the platform's place for a user's data. It may not exist yet."""
    given = os.environ.get("NAS_HOME")
    if given:
        return Path(given).expanduser().absolute()
    import platformdirs

    return platformdirs.user_data_path("nas")
