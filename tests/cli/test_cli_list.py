"""``nas list``: the names that a recipe accepts, with an explanation each."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from in_process import printed

from nas.cli.plug_in_summaries import first_sentence, plug_in_summaries
from nas.space.plug_ins import plug_in_names
from nas.tasks.images.well_known import DATA_SETS
from nas.values.metric import METRICS

GROUPS = ("nas.search_spaces", "nas.predictors", "nas.samplers", "nas.runtimes", "nas.exports")


def test_list_prints_every_name(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Plug-ins, data sets, metrics and keys with a fixed set of names are printed without escape codes."""
    text = printed(capsys, monkeypatch, "list")
    words = text.replace(",", " ").split()
    for name in (*(name for group in GROUPS for name in plug_in_names(group)), *DATA_SETS, *METRICS):
        assert name in words
    for name in ("folder:PATH", "energy_mj<=0.5mJ", "zero-cost", "execution.executor", "inline"):
        assert name in text
    assert "\x1b" not in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_the_same_names_are_there_for_programs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each section has a key of its own, and each name its sentence."""
    found = json.loads(printed(capsys, monkeypatch, "list", "--json"))
    assert {"data_sets", "tasks", "search_spaces", "targets", "predictors", "samplers", "metrics"} <= set(found)
    assert list(found["search_spaces"])[:-1] == plug_in_names("nas.search_spaces")
    assert set(found["metrics"]) == set(METRICS)
    assert found["metrics"]["params"].endswith("A limit is written like params<=1.2M")
    assert found["other_keys"]["evaluate"].startswith("auto, train, supernet, zero-cost, table.")
    text = printed(capsys, monkeypatch, "list")
    assert len(found) == text.count("\n\n") + 1


@pytest.mark.parametrize("group", GROUPS)
def test_every_plug_in_that_comes_with_nas_has_an_explanation(group: str) -> None:
    """The explanation is one sentence, read without importing the plug-in."""
    found = plug_in_summaries(group)
    assert list(found) == plug_in_names(group)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in found.values())


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Return the ``best`` one.", "The best one."),
        (
            "A net of 0.5 M\nparameters, as\npublished. It is small.\n\nMore.",
            "A net of 0.5 M parameters, as published.",
        ),
        ("", ""),
    ],
)
def test_the_first_sentence_explains(docstring: str, sentence: str) -> None:
    """The sentence loses its line breaks, its markup and the word Return."""
    assert first_sentence(docstring) == sentence


def test_a_broken_plug_in_is_listed_without_an_explanation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in whose module is missing, cannot be parsed or has no such name does not stop the list."""
    (tmp_path / "cannot_be_parsed.py").write_text("def")
    monkeypatch.syspath_prepend(tmp_path)
    paths = ("no_such_module:Space", "no_such.module:Space", "cannot_be_parsed:Space", "tiny_space:NoSuchSpace")
    entries = [EntryPoint(path, path, "nas.search_spaces") for path in paths]
    monkeypatch.setattr("nas.cli.plug_in_summaries.entry_points", lambda group: entries)
    assert plug_in_summaries("nas.search_spaces") == dict.fromkeys(sorted(paths), "")
