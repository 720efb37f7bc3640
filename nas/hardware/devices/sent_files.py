"""Files that a board needs: this program's code, and models, each known there by a hash of its content."""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nas
from nas.hardware.devices.agent import digest_of

ROOMS = ("formats", "hardware", "space", "storage", "values")
"""The rooms of this program that an agent needs: a quarter of its code."""


@functools.cache
def program() -> tuple[str, bytes]:
    """Return the name and the archive of this program's own code, which the agent runs from."""
    package = Path(nas.__file__).parent
    files = [*package.glob("*.py"), *(path for room in ROOMS for path in (package / room).rglob("*.py"))]
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            info = zipfile.ZipInfo(f"nas/{path.relative_to(package).as_posix()}")  # without a time, for equal archives
            archive.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED)
    content = written.getvalue()
    return f"code/{hashlib.sha256(content).hexdigest()[:16]}", content


def with_keys(value: Any, paths: dict[Path, dict[str, str]]) -> Any:
    """Return a value of a request with keys in the place of paths, which are collected in ``paths``."""
    if isinstance(value, Path):
        if value not in paths:
            states = tuple(
                (str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files_of(value).values()
            )
            paths[value] = {"key": _key_of(value, states), "name": "" if value.is_dir() else value.name}
        return paths[value]
    if isinstance(value, Mapping):
        return {name: with_keys(each, paths) for name, each in value.items()}
    return [with_keys(each, paths) for each in value] if isinstance(value, list | tuple) else value


@functools.lru_cache(maxsize=4096)
def _key_of(path: Path, states: tuple[tuple[str, int, int], ...]) -> str:
    """Return the key of a path's files, which are read anew only if their times or sizes have changed."""
    files, content = content_of(path)
    return digest_of(files, content)


def files_of(path: Path) -> dict[str, Path]:
    """Return all files that a device needs for a path, by name: those of a folder, or those of a model."""
    if path.is_dir():
        return {file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*")) if file.is_file()}
    state = path.stat()
    beside = _beside(path, state.st_mtime_ns, state.st_size) if path.suffix == ".onnx" else ()
    folder = path.resolve().parent
    return {path.name: path, **{file.resolve().relative_to(folder).as_posix(): file for file in beside}}


@functools.lru_cache(maxsize=4096)
def _beside(path: Path, changed_ns: int, size: int) -> tuple[Path, ...]:
    """Return the files with the weights of a large model, which is read anew only if its time or size has changed."""
    from nas.formats.onnx_file import external_files, read_graph

    return tuple(sorted(external_files(read_graph(path), path)))


def content_of(path: Path) -> tuple[list[tuple[str, int]], bytes]:
    """Return the names, sizes and contents of all files that a device needs for a path."""
    contents = {name: file.read_bytes() for name, file in files_of(path).items()}
    return [(name, len(each)) for name, each in contents.items()], b"".join(contents.values())
