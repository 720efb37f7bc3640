"""``predict.py`` for texts: the perplexity of files, continuations, and a sentence for each mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_models import model_of, tensor_info

from nas.formats.onnx_session import outputs_of
from nas.results.bundle import Bundle
from nas.tasks.batches import in_order
from nas.tasks.carrying import carried_files, recorded
from nas.tasks.deployed.predict import Model
from nas.tasks.loading import Loading
from nas.tasks.texts.loading import load_text
from nas.tasks.texts.texts import Texts

LINES = "the cat sat on the mat.\nso did the dog, and so did I.\n"
WAIT_S = 60


def write_bundle(folder: Path, task: Texts, batch: int = 1) -> Path:
    """Write a winner's folder for a model that knows only which token follows which. Return its ``predict.py``."""
    folder.mkdir(parents=True)
    counts = np.ones((task.vocabulary, task.vocabulary))
    for items in in_order(task.train, 64):
        raw, targets = items.raw[0].numpy(), items.targets.numpy()
        np.add.at(counts, (raw[targets >= 0], targets[targets >= 0]), 1)
    logits = np.log(counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
    inputs = [tensor_info("tokens", (batch, task.context), onnx.TensorProto.INT64)]
    outputs = [tensor_info("logits", (batch, *task.signature.output))]
    node = helper.make_node("Gather", ["table", "tokens"], ["logits"])
    onnx.save(model_of([node], inputs, outputs, {"table": logits}), folder / "model.onnx")
    about = {
        "signature": task.signature.to_json(),
        "answers": task.answers,
        "batch": batch,
        "preparation": recorded(task.preparation),
        "deployed": "model.onnx",
    }
    (folder / "architecture.json").write_text(json.dumps(about), encoding="utf-8")
    for name, content in carried_files(task.preparation).items():
        (folder / name).write_bytes(content)
    return folder / "predict.py"


def run(script: Path, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``predict.py`` without what this project needs."""
    return subprocess.run(
        [sys.executable, "-E", "-s", script, *map(str, arguments)],
        cwd=cwd,
        text=True,
        encoding="utf-8",
        capture_output=True,
        check=False,
        timeout=WAIT_S,
    )


@pytest.fixture(name="folder", scope="module")
def texts_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """110 texts of every kind."""
    folder = tmp_path_factory.mktemp("texts")
    for number in range(110):
        text = LINES * (1 + number % 7) + f"number {number}: " + "Größe, naïve, 数\r\n" * (number % 3)
        (folder / f"{number:03}.txt").write_bytes(text.encode("latin-1" if number == 5 else "utf-8", "replace"))
    return folder


@pytest.fixture(name="task", scope="module", params=["bytes", "bpe"])
def text_task(request: pytest.FixtureRequest, folder: Path) -> Texts:
    options: dict[str, Any] = {"vocabulary": 300} if request.param == "bpe" else {}
    loading = Loading(folder=folder.parent)
    return load_text(str(folder), loading, tokens=request.param, context=16, root=f"{folder}-cache", **options)


@pytest.fixture(name="script", scope="module")
def script_of_task(tmp_path_factory: pytest.TempPathFactory, task: Texts) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "winner", task, batch=2)


def test_each_file_gets_its_perplexity(folder: Path, task: Texts, script: Path) -> None:
    """Of all test files together it is the tested one, and each line has the values of that file alone."""
    done = run(script, "--json", folder)
    assert (done.returncode, done.stderr) == (0, "")
    found = {Path(line["input"]).name: line for line in map(json.loads, done.stdout.splitlines())}
    assert len(found) == 110
    ends = task.tokens.ends["test"]
    tested = [_name(task, folder, start, end) for start, end in zip((0, *ends), ends, strict=False)]
    nats = sum(found[name]["tokens"] * np.log(found[name]["perplexity"]) for name in tested)
    tokens = sum(found[name]["tokens"] for name in tested)
    tally = task.criterion.tally()
    for items in in_order(task.test, 64):
        logits = outputs_of(script.with_name("model.onnx"), task.prepared(items.raw))
        tally.add(torch.from_numpy(logits), items.targets)
    scores = tally.scores()
    assert np.exp(nats / tokens) == pytest.approx(scores["perplexity"].value, rel=1e-5)
    bits = sum(found[name]["bits_per_byte"] * found[name]["bytes"] for name in tested)
    size = sum(found[name]["bytes"] for name in tested)
    assert bits / size == pytest.approx(scores["bits_per_byte"].value, rel=1e-5)
    name, perplexity, per_byte = run(script, folder / "007.txt").stdout.strip().split("\t")
    assert Path(name).name == "007.txt"
    assert float(perplexity) == pytest.approx(found["007.txt"]["perplexity"], abs=1e-4)
    assert float(per_byte) == pytest.approx(found["007.txt"]["bits_per_byte"], abs=1e-4)


def _name(task: Texts, folder: Path, start: int, end: int) -> str:
    content = task.preparation.text_of(task.tokens.tokens("test")[start:end].tolist())
    return next(path.name for path in folder.iterdir() if path.read_bytes() == content)


def test_inputs_equal_those_of_training(folder: Path, task: Texts, script: Path) -> None:
    """Of all 110 files, in all splits: 0 differing values."""
    preparation = Model(script.parent).preparation
    trained: dict[bytes, list[np.ndarray[Any, Any]]] = {}
    for title in ("train", "validation", "test"):
        ends = task.tokens.ends[title]  # type: ignore[index]
        tokens = task.tokens.tokens(title)  # type: ignore[arg-type]
        windows = iter(task.input_arrays(getattr(task, title), slice(None))[0])
        for start, end in zip((0, *ends), ends, strict=False):
            count = -(-(end - start - 1) // task.context)
            content = task.preparation.text_of(tokens[start:end].tolist())
            trained[content] = [next(windows) for _ in range(count)]
        assert next(windows, None) is None
    assert len(trained) == 110
    for path in folder.iterdir():
        (deployed,) = preparation.prepared(preparation.read(path))
        np.testing.assert_array_equal(deployed, np.stack(trained[path.read_bytes()]))


def test_a_bundle_is_read_back(folder: Path, task: Texts, script: Path) -> None:
    """Loaded winners prepare texts alike; probabilities have a row for each token."""
    bundle = Bundle.read(script.parent)
    assert bundle.preparation == task.preparation
    model = Model(script.parent)
    found = model.predict(folder / "000.txt")
    assert found.shape[1:] == task.signature.output
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-4)
    windows = bundle.preparation.read([folder / "000.txt"])[0]
    np.testing.assert_array_equal(model.predict(windows), found)


def test_a_text_is_continued(task: Texts, script: Path, tmp_path: Path) -> None:
    """By the most probable token, or drawn with a seed; prompts of any length, on the command line or in a file."""
    done = run(script, "--generate", "24", "--prompt", "the c")
    assert (done.returncode, done.stderr) == (0, "")
    model = Model(script.parent)
    seen = list(np.concatenate(list(task.preparation.tokens_in([b"the c"]))))
    with_all = [int(token) for token in seen]
    for _ in range(24):
        window = np.zeros((1, task.context), np.int64)
        last = with_all[-task.context :]
        window[0, : len(last)] = last
        with_all.append(int(model.outputs_of_raw((window,))[0, len(last) - 1].argmax()))
    expected = task.preparation.text_of(with_all[len(seen) :]).decode()
    assert done.stdout == expected + "\n"
    (tmp_path / "prompt.txt").write_text(LINES)
    drawn = [
        run(script, "--generate", "30", "--temperature", "1", "--seed", seed, "--json", "prompt.txt", cwd=tmp_path)
        for seed in "112"
    ]
    texts = [json.loads(each.stdout)["continuation"] for each in drawn]
    assert texts[0] == texts[1] != texts[2]
    assert all(texts)


def test_help_tells_both(script: Path) -> None:
    done = run(script, "--help")
    for part in ("--generate N", "--prompt TEXT", "--temperature", "perplexity", "--json"):
        assert part in done.stdout


def _saved(array: object) -> object:
    return lambda folder: np.save(folder / "x.npy", np.asarray(array))


MISTAKES = {
    "nothing": (lambda folder: None, (), "the following arguments are required: INPUT"),
    "a missing file": (lambda folder: None, ("x.txt",), "there is no file or folder x.txt"),
    "an empty file": (lambda folder: (folder / "x.txt").touch(), ("x.txt",), "x.txt cannot be used as a text: it is e"),
    "one byte": (lambda folder: (folder / "x.txt").write_text("a"), ("x.txt",), "must have at least 2 tokens, but has"),
    "a binary file": (
        lambda folder: (folder / "x.txt").write_bytes(b"ab\0"),
        ("x.txt",),
        "it is no text: byte 2 is zero",
    ),
    "a folder without texts": (lambda folder: (folder / "x.png").touch(), (".",), "the folder . has no texts"),
    "tokens that are floats": (_saved(np.zeros((2, 16))), ("x.npy",), "tokens must be whole numbers of shape (N, 16)"),
    "tokens beyond": (_saved(np.full((2, 16), 999)), ("x.npy",), "but got 999 to 999"),
    "no number of tokens": (lambda folder: None, ("--generate", "0", "--prompt", "a"), "--generate must be at least 1"),
    "a prompt alone": (lambda folder: None, ("--prompt", "a"), "--prompt needs --generate N"),
    "an empty prompt": (lambda folder: None, ("--generate", "3", "--prompt", ""), "--prompt must not be empty"),
    "a cold temperature": (
        lambda folder: None,
        ("--generate", "3", "--prompt", "a", "--temperature", "-1"),
        "--temperature must be at least 0",
    ),
}


@pytest.fixture(name="one_script", scope="module")
def script_for_mistakes(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    task = load_text(str(folder), Loading(folder=folder.parent), context=16, root=f"{folder}-cache")
    return write_bundle(tmp_path_factory.mktemp("one") / "winner", task)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_by_a_sentence(name: str, tmp_path: Path, one_script: Path) -> None:
    prepare, arguments, says = MISTAKES[name]
    prepare(tmp_path)  # type: ignore[operator]
    done = run(one_script, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_one_bad_text_does_not_stop_the_others(tmp_path: Path, one_script: Path) -> None:
    (tmp_path / "a.txt").write_text(LINES)
    (tmp_path / "b.txt").write_bytes(b"a\0b")
    done = run(one_script, tmp_path)
    assert done.returncode == 1
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [str(tmp_path / "a.txt")]
    assert done.stderr.startswith(f"error: {tmp_path / 'b.txt'} cannot be used as a text: ")
