"""Texts by name: a file, a folder of files, or the sources of Python's own library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nas.errors import DataError
from nas.tasks.dependence import NONE
from nas.tasks.deployed.texts import BYTES, TextPreparation
from nas.tasks.loading import Loading, check_texts, data_root, loads_task, path_of
from nas.tasks.texts.sources import ENDINGS, TITLES, Sources, python_files, sources_of, text_files
from nas.tasks.texts.texts import Texts
from nas.tasks.texts.token_file import TokenFile, token_file

PYTHON = "python"
"""The name of the sources of Python's own library."""
PYTHON_ENDINGS = (".py",)
"""Those of its files, unless others are named for winners."""
PYTHON_BYTES = 2_000_000
"""The bytes of Python's library that are used by default."""
VALIDATION_SHARE = 0.1
MOST_CONTEXT = 8192
MOST_VOCABULARY = 32_768


@loads_task
def load_text(
    data: str,
    loading: Loading,
    *,
    tokens: str = "bytes",
    vocabulary: int | None = None,
    context: int = 128,
    stride: int | None = None,
    endings: Sequence[str] | str | None = None,
    most_bytes: int | None = None,
    group: str = "",
    root: str | None = None,
) -> Texts:
    """Return the text called ``data``: the task "text".

    ``data`` is the path of a file, or of a folder of files that end in one of ``endings``, by default those of plain
    texts. Without a name, or called "python", it is the library of the Python that runs, whose files end in ".py".
    Winners take folders of files with the same endings. ``tokens`` are "bytes", or "bpe": a ``vocabulary`` of bytes and
    of pairs of tokens that are learned from the training texts, by default 512. Models see ``context`` tokens
    together; training windows lie ``stride`` tokens apart, by default as many. ``most_bytes`` limits the text, and is
    two million for Python's library. ``group`` is the pattern of a part of paths: files for which that is equal stay in
    one split. Tokens are kept in the folder ``root``, else NAS_DATA, else ``~/.cache/nas/data``.

    Raises:
        DataError: the text cannot be used, or an option is wrong.
    """
    if tokens not in ("bytes", "bpe"):
        raise DataError(f'data.tokens must be "bytes" or "bpe", but got {tokens!r}.')
    if vocabulary is not None and tokens == "bytes":
        raise DataError(f'data.vocabulary is for data.tokens = "bpe": bytes are always 256, but got {vocabulary!r}.')
    size = BYTES if tokens == "bytes" else _whole("vocabulary", vocabulary or 512, BYTES + 1, MOST_VOCABULARY)
    usual = PYTHON_ENDINGS if data in ("", PYTHON) else ENDINGS
    named = _endings(usual if endings is None else endings)
    preparation = TextPreparation(_whole("context", context, 2, MOST_CONTEXT), (), named)
    apart = _whole("stride", context if stride is None else stride, 1, context)
    if most_bytes is not None:
        _whole("most_bytes", most_bytes, 1, 10**15)
    check_texts(group=group)
    group = "" if group == NONE else group
    sources = _sources(data, loading, preparation.endings, most_bytes, group)
    cache = data_root(root, loading.folder) / "tokens"
    found = token_file(sources, preparation, size, cache, loading.progress)
    _check_sizes(found, sources, preparation)
    used = sum(part.size for parts in sources.parts.values() for part in parts)
    facts: dict[str, Any] = {"files": sources.files, "bytes of text": used}
    if group:
        facts["split by"] = f"groups, of {group}"
    if used < sources.bytes:
        facts["bytes left out (data.most_bytes)"] = sources.bytes - used
    return Texts(sources.title, found, replace(preparation, merges=found.merges), apart, sources.notes, facts)


def _sources(data: str, loading: Loading, endings: tuple[str, ...], most_bytes: int | None, group: str) -> Sources:
    share = VALIDATION_SHARE if loading.validation_share is None else loading.validation_share
    if data in ("", PYTHON):
        title, (folder, files) = PYTHON, python_files()
        most_bytes = PYTHON_BYTES if most_bytes is None else most_bytes
    else:
        title, folder = data, path_of(data, loading.folder)
        files = text_files(folder, endings)
    return sources_of(
        title, folder, files, validation_share=share, most_bytes=most_bytes, seed=loading.seed, group=group
    )


def _check_sizes(found: TokenFile, sources: Sources, preparation: TextPreparation) -> None:
    """Raise DataError unless each split has a whole window."""
    needed = preparation.context + 1
    sizes = {title: found.ends[title][-1] if found.ends[title] else 0 for title in TITLES}
    if min(sizes.values()) < needed:
        held = ", ".join(f"{title} {count:,}" for title, count in sizes.items())
        raise DataError(
            f"each split of a text must have at least {needed:,} tokens, one more than data.context, but of "
            f"{sources.title} they have: {held}. Add text, or lower data.context."
        )


def _whole(name: str, value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise DataError(f"data.{name} must be a whole number from {least:,} to {most:,}, but got {value!r}.")
    return value


def _endings(given: object) -> tuple[str, ...]:
    found = given.split(",") if isinstance(given, str) else given
    if not isinstance(found, (list, tuple)) or not found or not all(isinstance(each, str) and each for each in found):
        raise DataError(f'data.endings must be texts such as [".txt", ".py"], but got {given!r}.')
    return tuple(f".{each.strip().lstrip('.').lower()}" for each in found)
