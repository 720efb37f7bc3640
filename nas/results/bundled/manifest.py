"""The manifest of a bundle: each of its files with its size and its SHA-256 hash, and the check that they are those."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nas.errors import JournalError
from nas.paths import why_no_file
from nas.storage.journal import write_aside

MANIFEST = "manifest.json"
FORMAT = 1
COMPILED = "__pycache__"
"""Python makes this folder where ``predict.py`` is imported."""
MISSING = "does not exist"
"""The reason of ``why_no_file`` for a file that is not there."""
_CHUNK = 2**20


@dataclass(frozen=True)
class Changes:
    """How the files of a bundle differ from its manifest; each by its path within the bundle.

    ``changed`` gives the reason, such as another hash. ``added`` are files that the manifest does not have. Those that
    Python compiled are in ``compiled`` instead, for it makes them wherever ``predict.py`` is imported.
    """

    files: int
    missing: tuple[str, ...] = ()
    changed: dict[str, str] | None = None
    added: tuple[str, ...] = ()
    compiled: tuple[str, ...] = ()

    @property
    def unsound(self) -> frozenset[str]:
        """The files that are missing or changed."""
        return frozenset((*self.missing, *(self.changed or {})))

    def touches(self, path: str) -> bool:
        """Return True if a file, or a file in a folder, is missing or changed."""
        return any(each == path or each.startswith(f"{path}/") for each in self.unsound)


def write_manifest(folder: Path, version: str) -> None:
    """Write the manifest of all files in ``folder``. It is the last file of a bundle. ``version`` made the bundle."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in _files(folder)
        if COMPILED not in path.relative_to(folder).parts
    }
    stored = {"format": FORMAT, "nas": version, "files": files}
    write_aside(folder / MANIFEST, (json.dumps(stored, indent=2, ensure_ascii=False) + "\n").encode())


def has_manifest(folder: Path) -> bool:
    """Return True for a bundle with hashes. Bundles of version 0.8 and before have none."""
    return (folder / MANIFEST).exists()


def changes_in(folder: Path) -> Changes:
    """Compare the files of a bundle with its manifest.

    Raises:
        JournalError: the manifest cannot be read, is of a newer version, or names a path outside the bundle.
    """
    recorded = _recorded(folder)
    missing, changed = [], {}
    for name, about in recorded.items():
        path = folder / name
        why = why_outside(path, folder) or why_no_file(path)
        if why == MISSING:
            missing.append(name)
            continue
        why = why or _why_changed(path, about)
        if why is not None:
            changed[name] = why
    added = [path.relative_to(folder) for path in _files(folder)]
    added = [path for path in added if path.as_posix() not in recorded]
    return Changes(
        len(recorded),
        tuple(missing),
        changed,
        tuple(path.as_posix() for path in added if COMPILED not in path.parts),
        tuple(path.as_posix() for path in added if COMPILED in path.parts),
    )


def files_in(folder: Path) -> list[Path] | None:
    """Return the files that a bundle's manifest names, relative to it; None for a bundle without hashes.

    Raises:
        JournalError: as for ``changes_in``.
    """
    return [Path(name) for name in _recorded(folder)] if has_manifest(folder) else None


def why_outside(path: Path, folder: Path) -> str | None:
    """Return why a path does not lie within a bundle, links followed; None if it does."""
    try:
        return None if path.resolve().is_relative_to(folder.resolve()) else "it leads outside the bundle"
    except RuntimeError:  # Python's word for links in a circle
        return "it is a link to itself"
    except (OSError, ValueError) as error:  # a name that no system takes
        return f"it cannot be the name of a file: {error}"


def sha256(path: Path) -> str:
    """Return the SHA-256 hash of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(_CHUNK):
            digest.update(part)
    return digest.hexdigest()


def _why_changed(path: Path, about: dict[str, Any]) -> str | None:
    try:
        size = path.stat().st_size
        if size != about["bytes"]:
            return f"it has {size:,} bytes instead of {about['bytes']:,}"
        found = sha256(path)
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return None if found == about["sha256"] else f"its SHA-256 is {found[:12]}… instead of {about['sha256'][:12]}…"


def _recorded(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / MANIFEST
    why = why_no_file(path)
    if why is not None:
        raise JournalError(f"the manifest of a bundle must be a file, but {path} {why}.")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        version, files = stored["format"], stored["files"]
        found = {str(name): {"bytes": int(f["bytes"]), "sha256": str(f["sha256"])} for name, f in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise JournalError(f"the manifest of a bundle must be readable, but {path} is not: {error}.") from error
    if version != FORMAT:
        raise JournalError(f"this version reads manifests of format {FORMAT}, but {path} has {version!r}. Upgrade nas.")
    for name in found:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts or "\\" in name or not parts.parts:
            raise JournalError(f"files of a bundle must lie within it, but {path} names {name!r}.")
    return found


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a bundle in a fixed order, without its manifest. A link to a folder counts as a file."""
    for path in sorted(folder.rglob("*")):
        if (path.is_symlink() or not path.is_dir()) and path != folder / MANIFEST:
            yield path
