"""Bad texts: files that are none, or too short, and options that make no sense."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bad_inputs.bad_input import BadInput

TEXT = ("search", "--task", "text", "--set", "data.root={here}/cache", "--data", "a.txt")
FOLDER = (*TEXT[:-1], "texts")
LOOKED_AT = "--dry-run"
LINES = "the cat sat on the mat, and so did I.\n"


def text(folder: Path, content: bytes = LINES.encode() * 200, name: str = "a.txt") -> Path:
    """Write a text."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def holding(content: bytes) -> Callable[[Path], Any]:
    """Return what writes a.txt with this content."""
    return partial(text, content=content)


def texts(*contents: bytes, ending: str = "txt") -> Callable[[Path], Any]:
    """Return what writes a folder of texts."""

    def write(folder: Path) -> None:
        (folder / "texts").mkdir()
        for number, content in enumerate(contents):
            text(folder, content, f"texts/{number}.{ending}")

    return write


MANY = [LINES.encode() * (20 + number) for number in range(20)]
BAD_INPUTS = {
    "no such file": BadInput(TEXT, ("a text must be a file or a folder of files, but", "a.txt does not exist")),
    "an empty file": BadInput(TEXT, ("a.txt cannot be used as a text: it is empty",), holding(b"")),
    "a short file": BadInput(
        TEXT,
        ("at least 129 tokens, one more than data.context", "Add text, or lower data.context"),
        holding(b"a\n" * 9),
    ),
    "a binary file": BadInput(TEXT, ("it is no text: byte 4 is zero",), holding(b"\x7fELF\0")),
    "a file in UTF-16": BadInput(TEXT, ("in UTF-16: convert it to UTF-8",), holding(LINES.encode("utf-16"))),
    "an empty folder": BadInput(FOLDER, ("a folder of texts must have files that end in .txt", "it is empty"), texts()),
    "a folder of other files": BadInput(
        FOLDER, ("has none (2 .py)", "--set 'data.endings=[\".py\"]'"), texts(b"a", b"b", ending="py")
    ),
    "many files that are no text": BadInput(
        FOLDER, ("at most 5% of the files may be no text, which is 1 of 22, but 2 are",), texts(*MANY, b"\0", b"\0")
    ),
    "empty files alone": BadInput(FOLDER, ("all 2 files in", "are empty"), texts(b"", b"")),
    "a test split alone": BadInput(
        FOLDER,
        ("a text needs training files",),
        lambda folder: text(folder, name="texts/test.txt"),
    ),
    "unknown tokens": BadInput(
        (*TEXT, "--set", "data.tokens=words"), ('data.tokens must be "bytes" or "bpe", but got \'words\'',), text
    ),
    "a vocabulary of bytes": BadInput((*TEXT, "--set", "data.vocabulary=512"), ('for data.tokens = "bpe"',), text),
    "no context": BadInput((*TEXT, "--set", "data.context=0"), ("data.context must be a whole number from 2",), text),
    "a context in words": BadInput((*TEXT, "--set", "data.context=long"), ("data.context must be a whole",), text),
    "a folder of nobody": BadInput(
        (*TEXT, "--set", "data.root=~nobody-here/cache"), ("begins with a user that does not exist here",), text
    ),
    "a stride beyond the context": BadInput(
        (*TEXT, "--set", "data.stride=500"), ("data.stride must be a whole number from 1 to 128, but got 500",), text
    ),
    "an option of images": BadInput((*TEXT, "--set", "data.image_size=32"), ("image_size",), text),
    "a space of images": BadInput(
        (*TEXT, "--space", "mobilenet"),
        ("mobilenet takes images", "the data have tokens, int64 of shape (128,)", "Spaces that take them: gpt"),
        text,
    ),
    "a space of texts for images": BadInput(
        ("search", "--data", "digits", "--space", "gpt"),
        ("gpt takes texts, int64 of shape (tokens,), but the data have images, float32 of shape (1, 8, 8)",),
    ),
    "widths that no heads divide": BadInput(
        (*TEXT, "--set", "space.widths=[30, 60]"), ("widths must be divisible by twice the heads",), text
    ),
    "a few files that are no text": BadInput(
        (*FOLDER, LOOKED_AT), ("1 of 21 files was left out as no text: 20.txt",), texts(*MANY, b"\0"), status=0
    ),
    "little text": BadInput((*TEXT, LOOKED_AT), ("models learn little from so few",), text, status=0),
    "a test text that is trained on": BadInput(
        (*FOLDER, LOOKED_AT),
        ("1 test texts are also in the training or validation texts",),
        lambda folder: [
            text(folder, LINES.encode() * 300, f"texts/{name}") for name in ("train/0.txt", "valid/1.txt", "test/2.txt")
        ],
        status=0,
    ),
}

if sys.platform == "linux":
    BAD_INPUTS |= {
        "a device in place of a file": BadInput(
            ("search", "--task", "text", "--data", "/dev/zero"), ("/dev/zero is a device",)
        ),
        "a cache that cannot be written": BadInput(
            ("search", "--task", "text", "--data", "a.txt", "--set", "data.root=/proc/nothing"),
            ("the tokens of a.txt take up to", "they cannot be kept in", "Their folder is data.root"),
            text,
        ),
    }
