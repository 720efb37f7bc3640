"""Preparing texts for a model of the next token: reading files, tokens, and windows. Perplexity, and continuations."""

# The search prepares texts by this code too, so a deployed model gets the same tokens as the tested one.

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.tasks.deployed.inputs import Array, Arrays, InputError, Named, ReadsArrays

Ints = npt.NDArray[np.int64]

BYTES = 256
"""The tokens that are single bytes. Those of longer pieces of text follow."""
IGNORED = -100
"""The target of a place behind the end of a text. Losses leave it out."""
LOOKED_AT = 8192
"""Bytes at the start of a file that must not have a zero byte."""
READ_TOGETHER = 1 << 20
TOGETHER = 64
"""Windows that a model sees together."""
REMEMBERED = 100_000
"""Pieces of text whose tokens are remembered."""
_PIECE = re.compile(rb" ?[A-Za-z_\x80-\xff]{1,32}| ?[0-9]{1,32}| ?[^\sA-Za-z_0-9\x80-\xff]{1,32}|\s{1,32}")
"""Pieces that tokens do not reach across: words, numbers, signs and gaps. Together they are the whole text."""


# Files


def why_no_text(path: Path) -> str | None:
    """Return why a file cannot be used as a text, or None if it can."""
    try:
        with path.open("rb") as file:
            start = file.read(LOOKED_AT)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    place = start.find(b"\0")
    if not start:
        return "it is empty"
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "it is in UTF-16: convert it to UTF-8"
    return None if place < 0 else f"it is no text: byte {place} is zero"


def chunks(path: Path, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Yield the bytes of a file from ``start`` to ``stop``, about a million at a time."""
    with path.open("rb") as file:
        file.seek(start)
        left = math.inf if stop is None else stop - start
        while left > 0 and (chunk := file.read(int(min(left, READ_TOGETHER)))):
            left -= len(chunk)
            yield chunk


def pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a text that comes in parts: the same ones, wherever the parts end."""
    rest = b""
    for part in parts:
        found = _PIECE.findall(rest + part)
        rest = found.pop()  # it may go on
        yield from found
    if rest:
        yield from _PIECE.findall(rest)


# Preparation


@dataclass(frozen=True)
class TextPreparation(ReadsArrays):
    """The way from a text to a model's input: its bytes, or byte pairs (Sennrich et al., 2016, arXiv:1508.07909).

    Attributes:
        context: the number of tokens that a model sees together.
        merges: the pairs of tokens that become one, in order; the first becomes the token 256. Empty for bytes.
        endings: files with these endings are the texts of a folder.
    """

    noun = "texts"
    context: int
    merges: tuple[tuple[int, int], ...] = ()
    endings: tuple[str, ...] = (".txt",)

    def to_json(self) -> dict[str, Any]:
        """Return the preparation as plain data, for programs and in words."""
        return {
            "context": self.context,
            "vocabulary": self.vocabulary,
            "merges": [list(pair) for pair in self.merges],
            "endings": list(self.endings),
            "in_words": self.in_words,
        }

    @property
    def in_words(self) -> list[str]:
        """The steps, in order."""
        merged = (
            f"Cut them into words, numbers, signs and gaps. Within each, merge pairs of tokens by {len(self.merges)} "
            "merges: the earliest in the list first, from the left."
        )
        return [
            "Read the bytes of the file as they are. Each is a token from 0 to 255.",
            *([merged] if self.merges else []),
            f"Cut the tokens into windows of {self.context} from the start. Fill up the last one with zeros.",
            "Order the axes as (window, token), and use 64-bit whole numbers.",
        ]

    @property
    def vocabulary(self) -> int:
        """The number of different tokens."""
        return BYTES + len(self.merges)

    @cached_property
    def spelled(self) -> list[bytes]:
        """The bytes that each token stands for."""
        found = [bytes([value]) for value in range(BYTES)]
        for first, second in self.merges:
            found.append(found[first] + found[second])
        return found

    @cached_property
    def _ranks(self) -> dict[tuple[int, int], int]:
        return {pair: place for place, pair in enumerate(self.merges)}

    def tokens_in(self, parts: Iterable[bytes]) -> Iterator[Array]:
        """Yield the tokens of a text that comes in parts, some at a time, uint8 for bytes and uint16 for others."""
        if not self.merges:
            for part in parts:
                yield np.frombuffer(part, dtype=np.uint8)
            return
        known: dict[bytes, list[int]] = {}
        waiting: list[int] = []
        for piece in pieces(parts):
            found = known.get(piece)
            if found is None:
                if len(known) >= REMEMBERED:
                    known.clear()
                found = known[piece] = self._merged(piece)
            waiting += found
            if len(waiting) > READ_TOGETHER:
                yield np.array(waiting, dtype=np.uint16)
                waiting = []
        yield np.array(waiting, dtype=np.uint16)

    def _merged(self, piece: bytes) -> list[int]:
        tokens, ranks, never = list(piece), self._ranks, len(self.merges)
        while len(tokens) > 1:
            rank = min(ranks.get(pair, never) for pair in itertools.pairwise(tokens))
            if rank == never:
                break
            tokens = joined(tokens, self.merges[rank], BYTES + rank)
        return tokens

    def tokens_of(self, path: Path) -> Array:
        """Return the tokens of a file. Raises InputError if it is no text, or has fewer than two tokens."""
        reason = why_no_text(path)
        if reason is not None:
            raise InputError(f"{path} cannot be used as a text: {reason}.")
        tokens = np.concatenate(list(self.tokens_in(chunks(path))))
        if len(tokens) < 2:
            raise InputError(f"{path} cannot be used as a text: it must have at least 2 tokens, but has {len(tokens)}.")
        return tokens

    def text_of(self, tokens: Sequence[int]) -> bytes:
        """Return the text that tokens stand for."""
        return b"".join(self.spelled[token] for token in tokens)

    @property
    def nothing(self) -> Arrays:
        """The tokens of no windows."""
        return (np.zeros((0, self.context), np.int64),)

    def file_items(self, path: Path) -> Named:
        """Yield the name and the tokens of each window of a text. Raises InputError if it is none."""
        blocks = (inputs for inputs, _ in in_blocks(self.tokens_of(path), self.context))
        yield from ((f"{path}[{n}]", (window,)) for n, window in enumerate(itertools.chain.from_iterable(blocks)))

    def texts(self, path: Path) -> Named:
        """Yield the name and all tokens of each file, or of each window of an .npy file; or why it cannot be used."""
        return self.in_files(path, lambda file: iter([(str(file), (self.tokens_of(file),))]))

    def checked(self, tokens: Array) -> Ints:
        """Return an array of windows of tokens as 64-bit whole numbers. Raises InputError if it is none."""
        if tokens.dtype.kind not in "iu" or tokens.ndim != 2 or tokens.shape[1] != self.context:
            raise InputError(
                f"tokens must be whole numbers of shape (N, {self.context}), "
                f"but got {tokens.dtype} of shape {tokens.shape}."
            )
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.vocabulary:
            raise InputError(f"tokens must be 0 to {self.vocabulary - 1}, but got {tokens.min()} to {tokens.max()}.")
        return tokens.astype(np.int64)

    def prepared(self, raw: Arrays) -> Arrays:
        """Return windows of tokens as the model's input: 64-bit whole numbers."""
        return (raw[0].astype(np.int64),)


def joined(tokens: Sequence[int], pair: tuple[int, int], merged: int) -> list[int]:
    """Return tokens with each occurrence of a pair replaced by one token, from the left."""
    found: list[int] = []
    place = 0
    while place < len(tokens):
        if place + 1 < len(tokens) and (tokens[place], tokens[place + 1]) == pair:
            found.append(merged)
            place += 2
        else:
            found.append(tokens[place])
            place += 1
    return found


def windows(tokens: Array, context: int) -> tuple[Ints, Ints]:
    """Return the windows of a text and their targets, each of shape (N, context).

    The target of each token is the one after it. Behind the end, tokens are 0 and targets ``IGNORED``.
    """
    count = max(1, -(-(len(tokens) - 1) // context))
    inputs = np.zeros(count * context, np.int64)
    targets = np.full(count * context, IGNORED, np.int64)
    inputs[: len(tokens)] = tokens[: count * context]
    targets[: len(tokens) - 1] = tokens[1:]
    return inputs.reshape(count, context), targets.reshape(count, context)


def in_blocks(tokens: Array, context: int) -> Iterator[tuple[Ints, Ints]]:
    """Yield the windows of a text and their targets, ``TOGETHER`` at a time: a long text then needs little memory."""
    for start in range(0, max(1, len(tokens) - 1), TOGETHER * context):
        yield windows(tokens[start : start + TOGETHER * context + 1], context)


def preparation_of(about: Mapping[str, Any]) -> TextPreparation:
    """Return the preparation that an ``architecture.json`` records."""
    stored = about["preparation"]
    merges = tuple((int(first), int(second)) for first, second in stored["merges"])
    return TextPreparation(int(stored["context"]), merges, tuple(stored["endings"]))


# The command line of predict.py

ABOUT = """Each text gives one line: its name, the perplexity of a token, and the bits of a byte, with tabs between.
With --generate, each text is continued instead:

    python predict.py --generate 200 --prompt "def read("
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``predict.py`` takes for a model of texts."""
    parser.add_argument("--generate", type=int, metavar="N", help="continue each text by N tokens")
    parser.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="a text to continue")
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="0 takes the most probable token; 1 draws by probability"
    )
    parser.add_argument("--seed", type=int, default=0, help="the seed of drawing")


def answer(model: Any, options: argparse.Namespace) -> int:
    """Print a line for each text, or its continuation. Return the exit status of ``predict.py``."""
    if options.generate is None and options.prompt:
        raise InputError("--prompt needs --generate N, the number of tokens to add.")
    if options.generate is not None and options.generate < 1:
        raise InputError(f"--generate must be at least 1, but got {options.generate}.")
    if not 0 <= options.temperature < math.inf:
        raise InputError(f"--temperature must be at least 0, but got {options.temperature:g}.")
    preparation: TextPreparation = model.preparation
    answered = unusable = 0
    rng = np.random.default_rng(options.seed)
    for name, found in _texts(preparation, options):
        if isinstance(found, InputError):
            unusable += 1
            print(f"error: {found}", file=sys.stderr)
            continue
        (tokens,) = found
        answered += 1
        if options.generate is None:
            _print_perplexity(model, name, tokens, options.json)
            continue
        added = continued(model, tokens, options.generate, options.temperature, rng)
        text = preparation.text_of(added).decode("utf-8", errors="replace")
        print(json.dumps({"input": name, "continuation": text}) if options.json else text)
    return 0 if not unusable else 1 if answered else 2


def _texts(preparation: TextPreparation, options: argparse.Namespace) -> Named:
    for number, prompt in enumerate(options.prompt):
        if not prompt:
            raise InputError("--prompt must not be empty.")
        encoded = prompt.encode("utf-8", errors="surrogateescape")
        yield f"prompt {number}", (np.concatenate(list(preparation.tokens_in([encoded]))),)
    for path in options.inputs:
        yield from preparation.texts(path)


def _print_perplexity(model: Any, name: str, tokens: Array, as_json: bool) -> None:
    nats, count = nats_of(model, tokens)
    lengths = np.array([len(each) for each in model.preparation.spelled])
    size = int(lengths[tokens[1:]].sum())
    perplexity, bits = math.exp(nats / count), nats / math.log(2) / size
    line = {"input": name, "tokens": count, "bytes": size, "perplexity": perplexity, "bits_per_byte": bits}
    print(json.dumps(line) if as_json else f"{name}\t{perplexity:.4f}\t{bits:.4f}")


def nats_of(model: Any, tokens: Array) -> tuple[float, int]:
    """Return the sum of the negative log-probabilities of a text's tokens but the first, and their number."""
    total = 0.0
    for inputs, targets in in_blocks(tokens, model.preparation.context):
        known = targets != IGNORED
        logits, wanted = model.outputs_of_raw((inputs,)).astype(np.float64)[known], targets[known]
        logits -= logits.max(axis=-1, keepdims=True)
        chosen = np.take_along_axis(logits, wanted[:, None], axis=-1)[:, 0]
        total += float((np.log(np.exp(logits).sum(axis=-1)) - chosen).sum())
    return total, len(tokens) - 1


def continued(
    model: Any, tokens: Sequence[int] | Array, count: int, temperature: float, rng: np.random.Generator
) -> list[int]:
    """Return the ``count`` tokens with which a model continues a text: the most probable, or drawn at random."""
    context = model.preparation.context
    found = [int(token) for token in tokens[-context:]]
    for _ in range(count):
        seen = found[-context:]
        window = np.zeros((1, context), np.int64)
        window[0, : len(seen)] = seen
        logits = model.outputs_of_raw((window,))[0, len(seen) - 1].astype(np.float64)
        if temperature == 0:
            found.append(int(logits.argmax()))
            continue
        with np.errstate(over="ignore"):  # a low temperature makes all but the first impossible
            weights = np.exp((logits - logits.max()) / temperature)
        found.append(int(rng.choice(len(weights), p=weights / weights.sum())))
    return found[-count:]
