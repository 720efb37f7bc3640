"""Wheels with a few small files, and what is found on a Raspberry Pi."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

PI: dict[str, Any] = {
    "python": [3, 13, 5],
    "implementation": "CPython",
    "bits": 64,
    "machine": "aarch64",
    "system": "Linux",
    "libc": ["glibc", "2.41"],
    "packages": {},
    "folder": "/home/pi/.nas-device",
    "have": [],
    "problem": "",
    "free_bytes": 2**33,
    "noexec": False,
}


def wheel(folder: Path, name: str, **files: str) -> Path:
    """Write a wheel with files whose names have ``__`` in the place of slashes."""
    path = folder / f"{name}.whl"
    with zipfile.ZipFile(path, "w") as made:
        for file, content in files.items():
            made.writestr(file.replace("__", "/"), content)
    return path
