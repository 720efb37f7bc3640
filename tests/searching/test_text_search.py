"""A whole search for a model of text, from a file to a winner whose ``predict.py`` says what the search has tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import evaluations_of
from quick_runs import search

from nas.space.search_space import load_space
from nas.tasks.loading import Loading
from nas.tasks.texts.loading import load_text

LINES = "the cat sat on the mat.\nso did the dog, and so did I.\n"


@pytest.mark.slow
def test_a_winner_says_of_the_test_text_what_was_tested(tmp_path: Path) -> None:
    """Its perplexity and bits per byte, for a test text that is a file of its own."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for title, count in (("train", 120), ("validation", 30), ("test", 30)):
        (folder / f"{title}.txt").write_text(LINES * count)
    task = load_text(str(folder), Loading(folder=tmp_path), context=16, root=str(tmp_path / "tokens"))
    space = load_space("gpt", {"depths": [1, 2], "widths": [16, 32], "heads": [2]}, task.signature)
    training = {"epochs": 1, "batch_size": 4, "learning_rate": 1e-2, "label_smoothing": 0.0}
    measuring, retraining = {"initial": 5, "per_round": 1}, {"epochs": 3, "winners": 1}
    changes = {"trials": 3, "rounds": 1, "measuring": measuring, "training": training, "retraining": retraining}
    front = search(tmp_path / "runs", space, task, **changes)
    (winner,) = front
    assert winner.bundle is not None
    assert winner.test_error < winner.chance_error
    done = subprocess.run(
        [sys.executable, "-E", "-s", winner.bundle / "predict.py", "--json", folder / "test.txt"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    line = json.loads(done.stdout)
    assert line["tokens"] == len(LINES) * 30 - 1
    assert line["bits_per_byte"] == pytest.approx(8 * winner.test_error, rel=1e-4)
    assert np.log2(line["perplexity"]) == pytest.approx(8 * winner.test_error, rel=1e-4)
    outputs = winner.load(space=space)(torch.from_numpy(task.input_arrays(task.test, slice(0, 2))[0]))
    assert outputs.shape == (2, 16, 256)
    assert winner.predict(folder / "test.txt").shape == (len(task.test), 16, 256)


@pytest.mark.slow
def test_n_grams_come_first_and_are_winners_that_write(tmp_path: Path) -> None:
    """Beside transformers, on one front: tested as their ``predict.py`` says, and it continues the text as it goes."""
    (tmp_path / "book.txt").write_text(LINES * 200)
    task = load_text("book.txt", Loading(folder=tmp_path), context=16, root=str(tmp_path / "tokens"))
    options = {"gpt": {"depths": [1, 2], "widths": [16, 32], "heads": [2]}}
    space = load_space("joined", {"spaces": ["gpt", "ngram"], "options": options}, task.signature)
    training = {"epochs": 1, "subset": 0.5, "batch_size": 4, "label_smoothing": 0.0}
    measuring, retraining = {"initial": 5, "per_round": 1}, {"epochs": 1, "winners": 1}
    changes = {"trials": 6, "rounds": 1, "measuring": measuring, "training": training, "retraining": retraining}
    front = search(tmp_path / "runs", space, task, **changes)
    rows = evaluations_of(front.run_folder, "train")
    # Two are trained at a time, and the first transformer may end before the last model of those that come first.
    assert [row.architecture["space"] for row in rows[:4]] == ["ngram"] * 4
    assert {row.details["subset"] for row in rows[:4]} == {1.0}
    simple = [winner for winner in front if winner.architecture["space"] == "ngram"]
    assert simple
    best = min(simple, key=lambda winner: winner.test_error)
    assert best.test_error < 0.05
    program = [sys.executable, "-E", "-s", best.bundle / "predict.py"]
    told = [*program, "--json", tmp_path / "book.txt"]
    line = json.loads(subprocess.run(told, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert line["bits_per_byte"] == pytest.approx(8 * best.test_error, abs=0.1)
    told = [*program, "--generate", "24", "--prompt", "the cat sat "]
    done = subprocess.run(told, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("on the ")
