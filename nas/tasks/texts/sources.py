"""The files of a text, and which parts of them are for training, validation and test."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from nas.errors import DataError, first_few
from nas.paths import why_no_file
from nas.tasks.broken_items import check_few, left_out
from nas.tasks.class_folders import SPLIT_NAMES, check_within
from nas.tasks.deployed.texts import why_no_text
from nas.tasks.doubts import group_warnings
from nas.tasks.file_groups import parts_of_files

Title = Literal["train", "validation", "test"]
TITLES: tuple[Title, ...] = ("train", "validation", "test")
TEST_SHARE = 0.1
FEWEST_FILES = 10
"""With fewer files, or with a file that is larger than a split, each file is cut into three parts."""
LINE_BYTES = 4096
"""A cut is moved to the end of its line, if that is so near."""
ENDINGS = (".txt", ".text", ".md", ".rst")
_MOST_NAMED = 5
_NO_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "__pycache__", "idlelib", "lib2to3", "pydoc_data"}
"""Folders of Python that hold no sources of its library, or generated ones."""


@dataclass(frozen=True)
class TextPart:
    """The bytes of a file from ``start`` to ``stop``. ``name`` is its path within the folder of texts."""

    path: Path
    name: str
    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.stop - self.start


@dataclass(frozen=True)
class Sources:
    """The parts of each split, in order, and sentences about what was left out.

    Attributes:
        title: the name of the text, for people.
        parts: the parts of each split.
        files: the number of files that are used.
        bytes: the size of all files, used or not.
        notes: sentences about what was left out.
    """

    title: str
    parts: dict[Title, tuple[TextPart, ...]]
    files: int
    bytes: int
    notes: tuple[str, ...] = ()

    def stamp(self) -> list[object]:
        """Return plain data that change if a file, a part or a split does."""
        return [
            [title, part.name, part.start, part.stop, str(part.path), os.stat(part.path).st_mtime_ns]
            for title, parts in self.parts.items()
            for part in parts
        ]


# Files


def python_files() -> tuple[Path, list[Path]]:
    """Return the folder of Python's own library, and its source files. Raises DataError if there are none."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = [
        Path(folder, name)
        for folder, folders, names in os.walk(root)
        if not folders.sort() and _keep(folders)
        for name in sorted(names)
        if name.endswith(".py") and not name.startswith("_sysconfigdata")
    ]
    if not found:
        raise DataError(f"Python's library must lie in {root} as .py files, but has none there. Name a text instead.")
    return root, found


def _keep(folders: list[str]) -> bool:
    folders[:] = [name for name in folders if name not in _NO_LIBRARY]
    return True


def text_files(path: Path, endings: Sequence[str]) -> list[Path]:
    """Return the file at ``path``, or the files below it that end in one of ``endings``, sorted.

    Raises:
        DataError: there are none, or one is a link out of the folder. Where there are none, the message says which
            endings the folder has.
    """
    if not path.is_dir():
        reason = why_no_file(path)
        if reason is not None:
            raise DataError(f"a text must be a file or a folder of files, but {path} {reason}.")
        return [path]
    found, others, root = [], Counter[str](), path.resolve()
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            file = Path(folder, name)
            if name.startswith(".") or not os.path.isfile(file):
                continue
            if name.lower().endswith(tuple(endings)):
                check_within(file, root)
                found.append(file)
            else:
                others[file.suffix.lower()] += 1
    if not found:
        held = ", ".join(f"{count} {ending or 'without one'}" for ending, count in others.most_common(_MOST_NAMED))
        most = next((ending for ending, _ in others.most_common() if ending), ".py")
        raise DataError(
            f"a folder of texts must have files that end in {', '.join(endings)}, but {path} has none "
            f"({held or 'it is empty'}). Name other endings: --set 'data.endings=[\"{most}\"]'."
        )
    return sorted(found)


# Splits


def sources_of(
    title: str,
    root: Path,
    files: Sequence[Path],
    *,
    validation_share: float,
    most_bytes: int | None,
    seed: int,
    group: str = "",
) -> Sources:
    """Return the parts of each split. The test split does not depend on the seed.

    Files or folders that are named train, validation and test, as in train.txt, are splits, if one is named train. A
    missing one is taken from the training files. With ten files or more, whole files are taken, in an order that only
    their names decide. Of fewer files, each is cut: first the training part, then that of validation, and then that of
    the test. Files of one ``group``, the pattern of ``parts_of_files``, are in one split, and are not cut.

    Raises:
        DataError: a file is no text; in a folder 5 % of them may be none. Or there are too few groups.
    """
    whole, notes = _usable(root, files)
    groups = _groups(whole, group)
    named: dict[Title, list[TextPart]] = {each: [] for each in TITLES}
    told = {part.name: _split_of(part.name) for part in whole}
    are_splits = "train" in told.values() or None not in told.values()
    for part in whole:
        named[(told[part.name] if are_splits else None) or "train"].append(part)
    if not are_splits and any(told.values()):
        notes.append(_no_split([name for name, title in told.items() if title]))
    if not named["train"]:
        raise DataError(f"a text needs training files, but {root} has only files for other splits.")
    total = sum(part.size for part in whole)
    if most_bytes is not None and total > most_bytes:
        named = {
            each: _first(_mixed(parts), most_bytes * sum(p.size for p in parts) // total)
            for each, parts in named.items()
        }
    if not named["test"]:
        named["train"], named["test"] = _divided(named["train"], TEST_SHARE, "", groups)
    if not named["validation"]:
        named["train"], named["validation"] = _divided(named["train"], validation_share, str(seed), groups)
    parts: dict[Title, tuple[TextPart, ...]] = {each: tuple(sorted(found, key=_place)) for each, found in named.items()}
    used = len({part.path for found in parts.values() for part in found})
    if groups:
        numbers = {name: number for number, name in enumerate(sorted(set(groups.values())))}
        notes += group_warnings(
            {each: np.array([numbers[groups[p.name]] for p in parts[each]]) for each in TITLES}, "texts"
        )
    return Sources(title, parts, used, total, tuple(notes))


def _place(part: TextPart) -> tuple[str, int]:
    return part.name, part.start


def _usable(root: Path, files: Sequence[Path]) -> tuple[list[TextPart], list[str]]:
    found, broken = [], {}
    for file in files:
        reason = why_no_text(file)
        name = file.relative_to(root).as_posix() if file != root else file.name
        if reason is None:
            found.append(TextPart(file, name, 0, file.stat().st_size))
        elif reason != "it is empty" or len(files) == 1:  # an empty file among others takes nothing away
            broken[name] = reason
    if len(files) == 1 and broken:
        raise DataError(f"{files[0]} cannot be used as a text: {broken[files[0].name]}.")
    reasons = [f"{name} ({reason})" for name, reason in broken.items()]
    check_few(reasons, len(files), "files", "no text", "Remove them, or name the endings of texts in data.endings")
    if not found:
        raise DataError(f"a folder of texts must have some text, but all {len(files)} files in {root} are empty.")
    return found, left_out(reasons, len(files), "files", "no text")


def _no_split(names: Sequence[str]) -> str:
    """Return the note that texts are called like a split, and are none."""
    return f"no file or folder is called train, so these are no splits: {first_few(names, _MOST_NAMED)}"


def _split_of(name: str) -> Title | None:
    """Return the split that a file's first folder, or its own name, tells; None for others, which are for training."""
    first, _, rest = name.partition("/")
    words = [first] if rest else first.split(".")
    titles = (title for word in words for title in TITLES if word.lower() in SPLIT_NAMES[title])
    return next(titles, None)


def _mixed(parts: Sequence[TextPart], salt: str = "") -> list[TextPart]:
    """Return parts in an order that looks random, but that only their names decide."""
    return sorted(parts, key=lambda part: hashlib.sha256(f"{salt}/{part.name}".encode("utf-8", "replace")).digest())


def _first(parts: Sequence[TextPart], size: int) -> list[TextPart]:
    """Return the first parts, ``size`` bytes in all."""
    found: list[TextPart] = []
    for part in parts:
        if size <= 0:
            break
        found.append(replace(part, stop=min(part.stop, part.start + size)))
        size -= part.size
    return found


def _groups(parts: Sequence[TextPart], pattern: str) -> Mapping[str, str]:
    """Return the group of each file by its name; nothing without a pattern. Folders of splits are no part of it."""
    if not pattern:
        return {}
    names = [part.name for part in parts]
    splits = {each for known in SPLIT_NAMES.values() for each in known}
    pairs = [name.partition("/") for name in names]
    within = [rest if rest and first.lower() in splits else first + mark + rest for first, mark, rest in pairs]
    return dict(zip(names, parts_of_files(within, pattern, "data.group"), strict=True))


def _whole_groups(
    parts: Sequence[TextPart], share: float, salt: str, groups: Mapping[str, str]
) -> tuple[list[TextPart], list[TextPart]]:
    """Return the remaining parts, and those of the groups that are taken; at least one group is in each."""
    sizes = Counter[str]()
    for part in parts:
        sizes[groups[part.name]] += part.size
    if len(sizes) < 2:
        raise DataError(
            f"a split needs files of at least two groups, which data.group keeps together, but got {len(sizes)}."
        )
    taken: set[str] = set()
    for name in sorted(sizes, key=lambda name: hashlib.sha256(f"{salt}/{name}".encode("utf-8", "replace")).digest()):
        if sum(sizes[each] for each in taken) >= share * sizes.total() or len(taken) == len(sizes) - 1:
            break
        taken.add(name)
    return (
        [part for part in parts if groups[part.name] not in taken],
        [part for part in parts if groups[part.name] in taken],
    )


def _divided(
    parts: Sequence[TextPart], share: float, salt: str, groups: Mapping[str, str]
) -> tuple[list[TextPart], list[TextPart]]:
    """Return the remaining parts, and those that are taken, about ``share`` of the bytes."""
    if groups:
        return _whole_groups(parts, share, salt, groups)
    total = sum(part.size for part in parts)
    if len(parts) >= FEWEST_FILES and max(part.size for part in parts) <= share * total:
        kept: list[TextPart] = []
        taken: list[TextPart] = []
        size = 0
        for part in _mixed(parts, salt):
            (kept if size >= share * total else taken).append(part)
            size += part.size
        return kept, taken
    cuts = [(part, _cut(part, part.stop - round(share * part.size))) for part in parts]
    return (
        [replace(part, stop=cut) for part, cut in cuts if cut > part.start],
        [replace(part, start=cut) for part, cut in cuts if cut < part.stop],
    )


def _cut(part: TextPart, place: int) -> int:
    """Return the end of the line at ``place``, or ``place`` itself if that is far."""
    if place >= part.stop:
        return part.stop
    with part.path.open("rb") as file:
        file.seek(place)
        ahead = file.read(min(LINE_BYTES, part.size // 100)).find(b"\n")
    return place + ahead + 1 if ahead >= 0 else place
