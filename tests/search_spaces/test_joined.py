"""Spaces that are joined: names, conditions, what each builds, and a search over networks and simple models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nearest_mean import NearestMean, NearestMeans
from quick_runs import BASE, search
from tiny_space import TinySpace

import nas
from nas.errors import RecipeError
from nas.space.parts.parents import first_of
from nas.space.plug_ins import code_named
from nas.space.rules import GROUP
from nas.space.search_space import count, enumerate_space, sample
from nas.storage import measurement_store
from nas.storage.journal import read_rows
from nas.storage.journal_rows import RungsJudged
from nas.storage.measurement_store import space_identity
from search_spaces.joined import Joined

GREY = nas.image_signature((1, 8, 8), 10)
SIMPLE, TINY = "NearestMeans", "TinySpace"
MODULES = ["tiny_space:TinySpace", "nearest_mean:NearestMeans"]


def joined(*names: str, **options: Any) -> Joined:
    return Joined(GREY, names or MODULES, **options)


def test_each_space_keeps_its_choices_behind_its_name() -> None:
    """A name that is taken is called after its space, and conditions follow."""
    space = joined()
    assert [choice.name for choice in space.choices] == ["space", "width", "depth", "kernel", "side", f"{SIMPLE}_width"]
    assert space.choices[3].when == ("depth", (1, 2))
    assert space.choices[4].when == ("space", (SIMPLE,))
    assert count(space) == count(TinySpace()) + 2
    kinds = {type(space.build(each)) for each in enumerate_space(space)}
    assert kinds == {torch.nn.Sequential, NearestMean}


def test_architectures_are_those_of_the_space_itself() -> None:
    space, alone = joined("mobilenet", "fbnet"), nas.load_space("fbnet", {}, GREY)
    rng = np.random.default_rng(0)
    found = next(each for each in (sample(space, rng) for _ in range(50)) if each["space"] == "fbnet")
    own = nas.Architecture({name: option for name, option in found.items() if name != "space"})
    assert list(space.layers(found)) == list(nas.layers_of(alone, own, GREY))
    assert dict(space.canonical(found)) == dict(found)


def test_a_space_gets_its_values_as_a_dict(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it would alone."""
    monkeypatch.setattr(NearestMeans, "canonical", lambda _, values: values | {"side": 2}, raising=False)
    found = joined().canonical({"space": SIMPLE, "side": 4, f"{SIMPLE}_width": 1})
    assert found == {"space": SIMPLE, "side": 2, f"{SIMPLE}_width": 1}


def test_simple_models_come_first() -> None:
    assert [dict(each) for each in first_of(joined())] == [{"space": SIMPLE, "side": 2, f"{SIMPLE}_width": 1}]
    assert first_of(joined("mobilenet", "fbnet")) == []


def test_options_reach_their_space() -> None:
    space = joined("mobilenet", "fbnet", options={"mobilenet": {"preset": "imagenet"}})
    assert len(space.choices) > len(joined("mobilenet", "fbnet").choices)


@pytest.mark.parametrize(
    ("spaces", "options", "says"),
    [
        (["mobilenet"], {}, "at least two names that differ"),
        (["mobilenet", "mobilenet"], {}, "at least two names that differ"),
        ("mobilenet", {}, "at least two names that differ"),
        (["mobilenet", "fbnet"], {"gpt": {}}, "but got some of 'gpt'"),
        (["mobilenet", "conv1d"], {}, "conv1d"),
        (["tiny_space:TinySpace", "other:TinySpace"], {}, "names that differ behind the colon"),
    ],
)
def test_what_cannot_be_joined_is_refused(spaces: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        nas.load_space("joined", {"spaces": spaces, "options": options}, GREY)


@pytest.mark.slow
def test_a_search_puts_a_simple_model_on_the_front_beside_networks(tmp_path: Path) -> None:
    """It is fitted in one go, and tested as the others; its bundle builds and loads it. It has the fewest weights."""
    keys: dict[str, Any] = {"objectives": ["error", "params"], "space": {"name": "joined", "spaces": MODULES}}
    front = nas.search({**BASE, **keys}, runs=tmp_path)
    trained = [row for row in nas.load_run(tmp_path / "run").rows if row.stage == "train"]
    assert trained[0].architecture["space"] == SIMPLE
    assert {row.architecture["space"] for row in trained} == {TINY, SIMPLE}
    simple = [winner for winner in front if winner.architecture["space"] == SIMPLE]
    assert simple
    assert all(winner.test_error < 0.6 for winner in simple)
    assert isinstance(simple[0].load(), NearestMean)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_export")
def test_fitted_models_are_no_peers_of_trainings_in_epochs(tmp_path: Path) -> None:
    """They have no learning curve by which others could be stopped early."""
    keys: dict[str, Any] = {"early_stopping": {"check": 3, "min_peers": 1}, "trials": 16, "training": {"epochs": 4}}
    front = search(tmp_path, joined(), objectives=["error", "params"], **keys)
    rows = [row for row in nas.load_run(tmp_path / "run").rows if row.stage == "train"]
    fitted = [row for row in rows if row.is_fitted]
    assert fitted
    assert all(row.architecture["space"] == SIMPLE for row in fitted)
    assert all((row.details["epochs"], len(row.details["curve"])) == (1, 1) for row in fitted)
    assert {winner.architecture["space"] for winner in front} >= {SIMPLE}
    judged = read_rows(tmp_path / "run", RungsJudged)
    assert judged
    in_epochs = [row for row in rows if row.is_in_epochs and row.reached_full_fidelity]
    assert all(each.trainings <= len(in_epochs) for each in judged)


def test_the_code_of_each_space_must_be_trusted() -> None:
    """Whoever opens a run of somebody else's is asked before any of it runs."""
    options = {"spaces": ["mobilenet", "evil:Space", "shrunk"], "options": {"shrunk": {"parent": "worse:parent"}}}
    found = code_named(GROUP, "joined", options, "search space")
    assert {"evil:Space", "worse:parent"} <= set(found)


def test_kept_measurements_notice_a_changed_space(monkeypatch: pytest.MonkeyPatch) -> None:
    before = space_identity(joined(), GREY)
    assert space_identity(joined(), GREY) == before
    sources = {TinySpace: "changed"}
    monkeypatch.setattr(measurement_store, "_source", lambda space: sources.get(type(space), "as it was"))
    changed = space_identity(joined(), GREY)
    monkeypatch.setattr(measurement_store, "_source", lambda space: "as it was")
    assert space_identity(joined(), GREY) != changed
