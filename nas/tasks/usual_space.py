"""What people would pick: the search space for models of a signature, and the task for files of a kind."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nas.space.signature import Signature

_BY_RANK = {1: "mlp", 2: "conv1d", 3: "mobilenet"}
"""The space for one input of floats, by the number of its sizes: columns, a signal of channels, an image."""
_BY_ENDING = {
    **dict.fromkeys((".wav", ".flac", ".ogg", ".mp3"), "signals"),
    **dict.fromkeys((".csv", ".tsv", ".parquet", ".xlsx"), "tables"),
    **dict.fromkeys((".txt", ".md", ".rst", ".py", ".json", ".html"), "text"),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"), "images"),
}
_LOOKED_AT = 500
"""Files of a folder whose endings are looked at."""


def usual_space(signature: Signature) -> str | None:
    """Return the name of the space that suits inputs of these shapes; None if no space is known for them."""
    ranks = [len(each.shape) for each in signature.inputs]
    tokens = [each.dtype == "int64" for each in signature.inputs]
    if len(signature.output) == 2:
        return "gpt" if tokens == [True] and ranks == [1] else None
    if set(ranks) == {1}:
        return _BY_RANK[1]
    return _BY_RANK.get(ranks[0]) if tokens == [False] else None


def other_task(path: Path, task: str, name: str) -> str:
    """Return a sentence that names the task for a file, or for most files of a folder; "" if it is ``task``.

    ``name`` is the path as the user wrote it.
    """
    endings = Counter(os.path.splitext(name)[1].lower() for name in itertools.islice(_files(path), _LOOKED_AT))
    known = Counter({ending: count for ending, count in endings.items() if ending in _BY_ENDING})
    if not known or any(_BY_ENDING[ending] == task for ending in known):
        return ""
    ending = known.most_common(1)[0][0]
    return f"For {ending} files, there is the task {_BY_ENDING[ending]}: --task {_BY_ENDING[ending]} --data {name}."


def _files(path: Path) -> Iterator[str]:
    if os.path.isfile(path):
        yield path.name
    for _, _, names in os.walk(path):
        yield from sorted(names)
