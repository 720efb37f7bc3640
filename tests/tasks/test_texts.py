"""Texts: their tokens on disk, splits without a text in common, and windows of them."""

from __future__ import annotations

import itertools
import os
import pickle
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.errors import DataError
from nas.progress import NullProgress
from nas.storage.file_lock import take
from nas.tasks.batches import in_order, items_at
from nas.tasks.deployed.texts import IGNORED, TextPreparation, joined, pieces, windows
from nas.tasks.loading import Loading
from nas.tasks.texts import token_file
from nas.tasks.texts.byte_pairs import learned_merges
from nas.tasks.texts.loading import load_text
from nas.tasks.texts.texts import Texts, Windows
from nas.tasks.texts.token_file import TokenFile

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "so", "did", "I", "Zürich", "1234", "(x + y)")


def prose(count: int, seed: int) -> str:
    """Return lines of words drawn at random."""
    draw = random.Random(seed)
    return "".join(draw.choice(WORDS) + draw.choice((" ", " ", "\n", ", ")) for _ in range(count))


def loaded(path: Path, **options: Any) -> Texts:
    """Return the text at ``path``, with a small context and its tokens beside it."""
    folder = path if path.is_dir() else path.parent
    return load_text(str(path), Loading(folder=folder), **{"context": 16, "root": f"{folder}-cache", **options})


@pytest.fixture(name="file")
def one_file(tmp_path: Path) -> Path:
    path = tmp_path / "texts" / "notes.txt"
    path.parent.mkdir()
    path.write_text(prose(2000, 0), encoding="utf-8")
    return path


@pytest.fixture(name="folder")
def many_files(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    for number in range(30):
        path = folder / f"part{number % 3}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(prose(60 + number, number), encoding="utf-8")
    return folder


def text_of(task: Texts, title: str) -> bytes:
    """Return all text of a split."""
    return task.preparation.text_of(task.tokens.tokens(title).tolist())  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"tokens": "bpe", "vocabulary": 300}])
def test_a_file_is_cut_into_three_parts(file: Path, options: dict[str, Any]) -> None:
    """The parts lie in order, at ends of lines, and together they are the file."""
    task = loaded(file, **options)
    parts = [text_of(task, title) for title in ("train", "validation", "test")]
    assert b"".join(parts) == file.read_bytes()
    assert all(part.endswith(b"\n") for part in parts[:2])
    sizes = [len(part) / file.stat().st_size for part in parts]
    np.testing.assert_allclose(sizes, [0.81, 0.09, 0.1], atol=0.01)


def test_of_many_files_whole_ones_are_taken(folder: Path) -> None:
    """No file is in two splits, none is left out, and the seed moves validation alone."""
    first, second = (
        load_text(str(folder), Loading(folder=folder, seed=seed), context=16, root=f"{folder}-cache") for seed in (0, 1)
    )
    contents = {path.read_bytes() for path in folder.rglob("*.txt")}
    found = [set(_texts(first, title)) for title in ("train", "validation", "test")]
    assert set.union(*found) == contents
    assert sum(map(len, found)) == len(contents)
    assert all(found)
    assert set(_texts(second, "test")) == found[2]
    assert set(_texts(second, "validation")) != found[1]


def _texts(task: Texts, title: str) -> list[bytes]:
    ends = [0, *task.tokens.ends[title]]  # type: ignore[index]
    tokens = task.tokens.tokens(title)  # type: ignore[arg-type]
    return [tokens[start:end].tobytes() for start, end in itertools.pairwise(ends)]


@pytest.mark.parametrize("layout", ["{}/a.txt", "{}.txt", "wiki.{}.txt"])
def test_named_splits_are_used(tmp_path: Path, layout: str) -> None:
    """Folders or files that are called train and Test are these splits; validation is taken from train."""
    folder = tmp_path / "texts"
    for number, title in enumerate(("train", "Test")):
        path = folder / layout.format(title)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(prose(500, number))
    task = loaded(folder)
    assert text_of(task, "test") == (folder / layout.format("Test")).read_bytes()
    assert text_of(task, "train") + text_of(task, "validation") == (folder / layout.format("train")).read_bytes()


def laid(folder: Path, tokens: np.ndarray[Any, Any], ends: list[int], stride: int) -> Windows:
    """Return windows of 8 tokens over texts that end at ``ends``."""
    (folder / token_file.TOKENS).write_bytes(tokens.astype(np.uint8).tobytes())
    file = TokenFile(folder, "uint8", {"train": tuple(ends), "validation": (0,), "test": (0,)}, (), "", (), ())
    return Windows(file, "train", 8, stride)


def test_windows_cover_each_text_once(tmp_path: Path, rng: np.random.Generator) -> None:
    """Each token but a text's first is the target of one place, and no window reaches into another text."""
    ends = np.cumsum(rng.integers(1, 50, 20))
    tokens = rng.integers(0, 256, ends[-1]).astype(np.uint8)
    found = laid(tmp_path, tokens, ends.tolist(), 8)
    raw, targets = found.items_at(slice(0, len(found)))
    starts = [0, *ends[:-1]]
    expected = [windows(tokens[start:end], 8) for start, end in zip(starts, ends, strict=True) if end - start > 1]
    np.testing.assert_array_equal(raw[0], np.concatenate([each[0] for each in expected]))
    np.testing.assert_array_equal(targets, np.concatenate([each[1] for each in expected]))
    followed = np.delete(tokens, starts)
    np.testing.assert_array_equal(targets[targets != IGNORED], followed)


def test_a_stride_makes_more_windows(tmp_path: Path) -> None:
    """They overlap, begin after each stride, and the last one reaches the end."""
    tokens = np.arange(40, dtype=np.uint8)
    found = laid(tmp_path, tokens, [40], 3)
    raw, targets = found.items_at(np.arange(len(found)))
    np.testing.assert_array_equal(raw[0][:, 0], 3 * np.arange(len(found)))
    assert set(targets[targets != IGNORED].tolist()) == set(range(1, 40))
    assert (targets[:-1] != IGNORED).all()
    item, target = found[2]
    assert torch.equal(item, raw[0][2])
    assert torch.equal(target, targets[2])
    with pytest.raises(IndexError):
        found[len(found)]


def test_tokens_stay_on_disk(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are mapped, made once, and made anew if the file changes."""
    made = []
    write = token_file._write
    monkeypatch.setattr(token_file, "_write", lambda *given: (made.append(1), write(*given)))
    task = loaded(file)
    assert isinstance(task.tokens.tokens("train").base, np.memmap)
    task.train.items_at(slice(0, 2))
    sent = pickle.dumps(task)
    assert len(sent) < 5000 < file.stat().st_size
    assert torch.equal(pickle.loads(sent).train[3][0], task.train[3][0])
    assert loaded(file).fingerprint == task.fingerprint
    assert len(made) == 1
    file.write_text(prose(2100, 0), encoding="utf-8")
    assert loaded(file).fingerprint != task.fingerprint
    assert len(made) == 2


def test_a_task_outlives_its_file(file: Path) -> None:
    """A text that disappears during a search is still there as tokens."""
    task = loaded(file)
    file.unlink()
    assert sum(len(batch.targets) for batch in in_order(task.train, 7)) == len(task.train)


def test_tokens_that_nobody_used_for_long_are_removed(file: Path) -> None:
    folder = loaded(file).tokens.folder
    os.utime(folder / token_file.ABOUT, (0, 0))
    other = file.with_name("other.txt")
    shutil.copy(file, other)
    loaded(other)
    assert not folder.exists()


def test_tokens_that_a_killed_process_left_are_removed(file: Path) -> None:
    """Unless another process may still be writing them."""
    cache = loaded(file).tokens.folder.parent
    for name in ("left", "new"):
        (cache / f".making-{name}").mkdir()
        (cache / f".making-{name}" / token_file.TOKENS).touch()
    with take(cache / "new.lock"):
        loaded(file)
    assert [path.name for path in cache.glob(".making-*")] == [".making-new"]


def test_tokens_that_are_damaged_or_gone_are_told(file: Path) -> None:
    """The message says which folder to remove, or where the tokens must lie."""
    task = loaded(file)
    tokens = task.tokens.folder / token_file.TOKENS
    sent = pickle.dumps(task)
    content = tokens.read_bytes()
    tokens.write_bytes(content[:-5])
    assert f"{tokens.parent} are damaged (tokens.bin must hold {len(content):,} bytes" in refused(file)
    shutil.rmtree(tokens.parent)
    with pytest.raises(DataError, match=r"must lie in .* on each machine that trains"):
        len(pickle.loads(sent).train[0])
    assert loaded(file).fingerprint == task.fingerprint


@pytest.mark.skipif(os.name == "nt" or getattr(os, "geteuid", lambda: 1)() == 0, reason="nobody forbids that here")
def test_tokens_that_others_share_may_be_read_only(file: Path) -> None:
    folder = loaded(file).tokens.folder
    folder.chmod(0o500)
    try:
        assert len(loaded(file).train)
    finally:
        folder.chmod(0o700)


def test_pieces_do_not_depend_on_how_a_text_comes(rng: np.random.Generator) -> None:
    """They are the whole text, in any parts, even if these are not UTF-8."""
    text = prose(300, 1).encode() + rng.integers(0, 256, 500, np.uint8).tobytes() + b"a" * 200 + b"   "
    expected = list(pieces([text]))
    assert b"".join(expected) == text
    for size in (1, 2, 3, 64):
        parts = [text[start : start + size] for start in range(0, len(text), size)]
        assert list(pieces(parts)) == expected


def test_byte_pairs_are_the_most_frequent_ones() -> None:
    """Counted anew after each merge; of equal ones the lower tokens."""
    text = b"banana bandana ananas, and anna can band a banal bandit " * 3
    words = [list(word) for word in pieces([text])]
    expected: list[tuple[int, int]] = []
    for number in range(12):
        counts = Counter(pair for word in words for pair in itertools.pairwise(word))
        expected.append(min(counts, key=lambda pair: (-counts[pair], pair)))
        words = [joined(word, expected[-1], 256 + number) for word in words]
    assert learned_merges([text], 12, NullProgress()) == tuple(expected)


def test_byte_pairs_shorten_a_text(file: Path) -> None:
    """Frequent words become one token, tokens spell the text, and the error counts in bytes."""
    task = loaded(file, tokens="bpe", vocabulary=290)
    assert task.signature.output == (16, 290)
    assert task.vocabulary == 290
    assert b" the" in task.preparation.spelled
    assert task.tokens.ends["train"][-1] < 0.5 * len(text_of(task, "train"))
    assert task.criterion.token_bytes[:257] == (*(1,) * 256, 2)
    few = loaded(file, tokens="bpe", vocabulary=5000)
    assert few.vocabulary < 400  # no pair comes twice any more


def test_python_is_a_text_that_everybody_has(tmp_path: Path) -> None:
    """Its library's sources, of a stated size."""
    task = load_text("", Loading(), root=str(tmp_path), most_bytes=50_000, context=32)
    assert (task.name, task.facts["bytes of text"]) == ("python", 50_000)
    assert task.preparation.endings == (".py",), "winners take folders of such files"
    asked = load_text("python", Loading(), root=str(tmp_path), most_bytes=50_000, context=32, endings=[".txt", ".py"])
    assert asked.preparation.endings == (".txt", ".py")
    assert b"def " in text_of(task, "train")
    assert task.signature.to_json()["inputs"] == [{"name": "tokens", "shape": [32], "dtype": "int64", "counts": [256]}]
    assert load_text("python", Loading(), root=str(tmp_path), most_bytes=50_000, context=32).fingerprint == (
        task.fingerprint
    )


def test_training_suits_the_size_of_a_text(file: Path, tmp_path: Path) -> None:
    """Candidates see a part of a long text, few windows go into a batch if these are long, and nothing is smoothed."""
    small = loaded(file).training_defaults
    assert small["training"]["subset"] == 1
    assert small["training"]["batch_size"] == 64
    assert small["training"]["label_smoothing"] == 0
    assert small["retraining"]["epochs"] == 20
    large = load_text("", Loading(), root=str(tmp_path), context=512).training_defaults
    assert large["training"]["subset"] == pytest.approx(0.1, abs=0.03)
    assert large["training"]["batch_size"] == 4
    assert large["retraining"]["epochs"] == 4


def test_what_is_doubtful_is_told(folder: Path) -> None:
    """Little text, a test file that is trained on, files that are no text, and for byte pairs no UTF-8."""
    task = loaded(folder)
    assert task.warnings == (
        f"there are only {task.tokens.ends['train'][-1]:,} training tokens: models learn little from so few",
    )
    named = folder.with_name("named")
    for title in ("train", "test"):
        (named / title).mkdir(parents=True)
        (named / title / "a.txt").write_bytes(prose(500, 3).encode("latin-1"))
    (named / "train" / "b.txt").write_bytes(b"a\0b")
    words = " ".join(loaded(named).warnings)
    assert "1 of 3 files was left out as no text: train/b.txt (it is no text: byte 1 is zero)" in words
    assert "1 test texts are also in the training or validation texts" not in words  # a tenth of it validates
    assert "UTF-8" not in words
    assert "3 texts are not in UTF-8" in " ".join(loaded(named, tokens="bpe", vocabulary=300).warnings)


def test_a_test_text_that_is_trained_on_is_told(folder: Path) -> None:
    test = loaded(folder)
    content = _texts(test, "test")[0]
    (folder / "part0" / "copy of it.txt").write_bytes(content)
    (folder / "part0" / "and again.txt").write_bytes(content)
    assert "test texts are also in the training or validation texts" in " ".join(loaded(folder).warnings)


def test_a_validation_text_that_is_trained_on_is_told(folder: Path) -> None:
    """Models that memorise texts would be chosen."""
    content = _texts(loaded(folder), "validation")[0]
    for number in range(4):
        (folder / "part0" / f"copy {number}.txt").write_bytes(content)
    assert "validation texts are also in the training texts" in " ".join(loaded(folder).warnings)


def test_names_of_splits_need_one_for_training(folder: Path) -> None:
    """One page called testing.md became the whole test split, without a word."""
    (folder / "testing.md").write_bytes(prose(400, 7).encode())
    (folder / "dev").mkdir()
    (folder / "dev" / "notes.txt").write_bytes(prose(400, 8).encode())
    task = loaded(folder, endings=[".txt", ".md"])
    assert "no file or folder is called train, so these are no splits: dev/notes.txt, testing.md" in str(task.warnings)
    assert len(_texts(task, "test")) > 1


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        loaded(path, **options)
    return str(caught.value)


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """By a sentence that says what to do."""
    (tmp_path / "empty.txt").touch()
    assert "empty.txt cannot be used as a text: it is empty" in refused(tmp_path / "empty.txt")
    (tmp_path / "short.txt").write_text("a few words\n" * 9)
    assert "at least 17 tokens, one more than data.context" in refused(tmp_path / "short.txt")
    (tmp_path / "binary.txt").write_bytes(b"PK\0\1")
    assert "it is no text: byte 2 is zero" in refused(tmp_path / "binary.txt")
    (tmp_path / "wide.txt").write_text("Zürich" * 100, encoding="utf-16")
    assert "it is in UTF-16: convert it to UTF-8" in refused(tmp_path / "wide.txt")
    assert "nothing.txt does not exist" in refused(tmp_path / "nothing.txt")
    (tmp_path / "code").mkdir()
    assert "it is empty" in refused(tmp_path / "code")
    (tmp_path / "code" / "a.py").write_text("x = 1\n" * 200)
    assert "(1 .py). Name other endings: --set 'data.endings=[\".py\"]'" in refused(tmp_path / "code")
    assert loaded(tmp_path / "code", endings=[".PY"]).facts["files"] == 1


def test_wrong_options_are_refused(file: Path) -> None:
    assert 'data.tokens must be "bytes" or "bpe"' in refused(file, tokens="words")
    assert "data.vocabulary must be a whole number from 257 to 32,768" in refused(file, tokens="bpe", vocabulary=100)
    assert "data.vocabulary is for" in refused(file, vocabulary=512)
    assert "data.context must be a whole number from 2 to 8,192" in refused(file, context=1.5)
    assert "data.stride must be a whole number from 1 to 16" in refused(file, stride=17)
    assert "data.endings must be texts" in refused(file, endings=[1])
    assert "data.most_bytes must be a whole number" in refused(file, most_bytes=True)


def test_a_full_disk_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    words = refused(file)
    assert "the disk has room for 0 MiB" in words
    assert "use a part of the text, such as data.most_bytes" in words
    assert not [path for path in Path(f"{file.parent}-cache", "tokens").iterdir() if path.is_dir()]


def test_training_and_bundles_get_the_same_tokens(folder: Path) -> None:
    """Of every file, to the last token: 0 differing values."""
    for options in ({}, {"tokens": "bpe", "vocabulary": 400}):
        task = loaded(folder, **options)
        stored = TextPreparation.__dict__["to_json"](task.preparation)
        assert stored["vocabulary"] == task.vocabulary
        of_files = {
            path.read_bytes(): [raw[0] for _, raw in task.preparation.items(path)] for path in folder.rglob("*.txt")
        }
        compared = 0
        for title in ("train", "validation", "test"):
            examples = getattr(task, title)
            place = 0
            for content in map(task.preparation.text_of, _token_lists(task, title)):
                for window in of_files[content]:
                    raw, _ = items_at(examples, slice(place, place + 1))
                    np.testing.assert_array_equal(task.prepared(raw)[0][0], window)
                    place += 1
                compared += 1
            assert place == len(examples)
        assert compared == 30


def _token_lists(task: Texts, title: str) -> list[list[int]]:
    ends = [0, *task.tokens.ends[title]]  # type: ignore[index]
    tokens = task.tokens.tokens(title)  # type: ignore[arg-type]
    return [tokens[start:end].tolist() for start, end in itertools.pairwise(ends)]
