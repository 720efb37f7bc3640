"""The tokens of a text on disk: written once, and mapped into the memory of all processes that read them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import DataError
from nas.progress import Progress
from nas.storage.made_folders import MadeFolders
from nas.tasks.deployed.inputs import Array
from nas.tasks.deployed.texts import TextPreparation, chunks
from nas.tasks.texts.byte_pairs import learned_merges
from nas.tasks.texts.sources import TITLES, Sources, TextPart, Title

VERSION = 1
ABOUT, TOKENS = "about.json", "tokens.bin"


@dataclass(frozen=True)
class TokenFile:
    """The tokens of all splits, one after the other, in a folder.

    Attributes:
        folder: where they lie.
        dtype: their type on disk.
        ends: of each split, where its texts end, counted from its first token.
        merges: the byte pairs; empty for bytes.
        digest: hexadecimal digits that depend on the tokens and the splits.
        twice: texts of the test split that are training or validation texts too.
        odd: files that are not in UTF-8.
        repeated: texts of the validation split that are training texts too.
    """

    folder: Path
    dtype: str
    ends: dict[Title, tuple[int, ...]]
    merges: tuple[tuple[int, int], ...]
    digest: str
    twice: tuple[str, ...]
    odd: tuple[str, ...]
    repeated: tuple[str, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the tokens, or each worker would be sent a copy of them."""
        return {key: value for key, value in self.__dict__.items() if key != "_mapped"}

    @cached_property
    def _mapped(self) -> Array:
        try:
            return np.memmap(self.folder / TOKENS, dtype=self.dtype, mode="r")
        except OSError as error:
            raise DataError(
                f"the tokens of a text must lie in {self.folder} on each machine that trains, but: {error.strerror}. "
                "Name the text in the recipe, so that each machine makes its own."
            ) from error

    def tokens(self, title: Title) -> Array:
        """Return the tokens of a split, which stay on disk until they are used."""
        before = sum(self.ends[each][-1] for each in TITLES[: TITLES.index(title)])
        return self._mapped[before : before + self.ends[title][-1]]

    def counts(self, title: Title, vocabulary: int) -> npt.NDArray[np.int64]:
        """Return how often each token comes in a split."""
        found = np.zeros(vocabulary, np.int64)
        tokens = self.tokens(title)
        for start in range(0, len(tokens), 1 << 24):
            found += np.bincount(tokens[start : start + (1 << 24)], minlength=vocabulary)
        return found


def token_file(
    sources: Sources, preparation: TextPreparation, vocabulary: int, cache: Path, progress: Progress
) -> TokenFile:
    """Return the tokens of texts. They are made if the folder ``cache`` does not hold those of the same files.

    Raises:
        DataError: a file can no longer be read, or the tokens cannot be written.
    """
    size = sum(part.size for parts in sources.parts.values() for part in parts) * (1 if vocabulary <= 256 else 2)
    try:
        stamp = [VERSION, vocabulary, sources.stamp()]
        key = hashlib.sha256(json.dumps(stamp).encode("utf-8", "surrogatepass")).hexdigest()[:24]
        folder = MadeFolders(cache, ABOUT).folder(
            key, size, lambda aside: _write(sources, preparation, vocabulary, aside, progress)
        )
        return _read(folder)
    except (ValueError, KeyError) as error:
        raise DataError(
            f"the tokens in {cache / key} are damaged ({error}). Remove that folder: they are made anew."
        ) from error
    except OSError as error:
        raise DataError(
            f"the tokens of {sources.title} take up to {size / 1e9:.2f} GB, but they cannot be kept in "
            f"{error.filename or cache}: {error.strerror or error}. Their folder is data.root, or the environment "
            "variable NAS_DATA. Or use a part of the text, such as data.most_bytes=100000000."
        ) from error


def _read(folder: Path) -> TokenFile:
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    size = sum(about["ends"][title][-1] for title in TITLES if about["ends"][title])
    held, wanted = (folder / TOKENS).stat().st_size, size * np.dtype(about["dtype"]).itemsize
    if held != wanted:
        raise ValueError(f"{TOKENS} must hold {wanted:,} bytes, but holds {held:,}")
    return TokenFile(
        folder,
        about["dtype"],
        {title: tuple(about["ends"][title]) for title in TITLES},
        tuple((first, second) for first, second in about["merges"]),
        about["digest"],
        tuple(about["twice"]),
        tuple(about["odd"]),
        tuple(about.get("repeated", ())),
    )


def _write(sources: Sources, preparation: TextPreparation, vocabulary: int, folder: Path, progress: Progress) -> None:
    """Write the tokens, and what is known of them, into a folder."""
    if vocabulary > preparation.vocabulary:
        training = (chunk for part in sources.parts["train"] for chunk in chunks(part.path, part.start, part.stop))
        merges = learned_merges(training, vocabulary - preparation.vocabulary, progress)
        preparation = TextPreparation(preparation.context, merges, preparation.endings)
    about = _write_tokens(sources, preparation, folder / TOKENS, progress)
    (folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")


def _write_tokens(sources: Sources, preparation: TextPreparation, path: Path, progress: Progress) -> dict[str, Any]:
    """Write the tokens of all splits, and return what is known of them."""
    ends: dict[Title, list[int]] = {}
    written, odd, digests = hashlib.sha256(), [], dict[bytes, Title]()
    twice, repeated = [], []
    progress.stage("reading texts", sum(map(len, sources.parts.values())))
    with path.open("wb") as file:
        for title in TITLES:
            ends[title] = []
            total = 0
            for part in sources.parts[title]:
                content = _Content(part)
                for tokens in preparation.tokens_in(content):
                    file.write(tokens.tobytes())
                    written.update(tokens.tobytes())
                    total += len(tokens)
                ends[title].append(total)
                progress.advance()
                if title == "test" and digests.get(content.digest, "test") != "test":
                    twice.append(part.name)
                if title == "validation" and digests.get(content.digest) == "train":
                    repeated.append(part.name)
                digests.setdefault(content.digest, title)
                if not content.is_utf8:
                    odd.append(part.name)
    progress.close()
    written.update(json.dumps(ends).encode())
    return {
        "dtype": "uint8" if not preparation.merges else "uint16",
        "ends": ends,
        "merges": preparation.merges,
        "digest": written.hexdigest(),
        "twice": twice,
        "odd": odd,
        "repeated": repeated,
    }


class _Content:
    """The bytes of a part, which also tells their digest and whether they are UTF-8 once all are read."""

    def __init__(self, part: TextPart) -> None:
        self._part = part
        self._hash = hashlib.sha256()
        self.is_utf8 = True

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for chunk in chunks(self._part.path, self._part.start, self._part.stop):
            self._hash.update(chunk)
            if self.is_utf8:
                rest = self._undecoded(rest + chunk)
            yield chunk

    def _undecoded(self, content: bytes) -> bytes:
        """Return the bytes of a last character that is not complete."""
        try:
            content.decode()
        except UnicodeDecodeError as error:
            if len(content) - error.start < 4 and error.reason == "unexpected end of data":
                return content[error.start :]
            self.is_utf8 = False
        return b""

    @property
    def digest(self) -> bytes:
        return self._hash.digest()
