"""Choices that affect training only never reach the device, and the sampler learns from them all the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import evaluations_of
from fake_bench import latency_ms
from quick_runs import BASE, Diary, OneChoice, instruments, search
from torch import nn

import nas
from nas.errors import RecipeError, SpaceError
from nas.results.bundle import Bundle
from nas.results.front import Front
from nas.searching.beliefs import Beliefs
from nas.searching.screening import Screening
from nas.space.architecture import Architecture, Choice
from nas.space.parts.candidate import SpaceParts
from nas.space.parts.device_parts import device_space, with_training
from nas.space.rebuilding import Rebuilder
from nas.space.search_space import SearchSpace, choices_hash, count, enumerate_space
from nas.space.signature import image_signature
from nas.storage.journal import JournalReader
from nas.storage.journal_rows import Began, RungsJudged
from nas.storage.measurement_store import space_identity
from nas.values.evaluation import FOR_ANY, Evaluation, Failure

pytestmark = pytest.mark.usefixtures("quick_export")

RATES = (1e-3, 1e-2)
QUICK: Mapping[str, Any] = {
    "trials": 6,
    "rounds": 2,
    "measuring": {},
    "training": {"epochs": 1, "subset": 0.1},
    "retraining": {"epochs": 1, "winners": 2},
}


class OneNetwork(OneChoice):
    """One network, and choices of training."""

    choices = (
        Choice("width", (4,)),
        Choice("learning_rate", RATES, affects="training"),
        Choice("weight_decay", (0.0, 0.05, 0.1), affects="training"),
    )


class Rated(OneChoice):
    """The widths of ``OneChoice`` with two learning rates; ``build`` is given both choices."""

    choices = (*OneChoice.choices, Choice("learning_rate", RATES, affects="training"))

    def build(self, architecture: Architecture) -> nn.Module:
        assert architecture["learning_rate"] in RATES
        return super().build(architecture)


def search_more(
    runs: Path, options: Mapping[str, Any], progress: Any = None, train: Any = None, **changes: Any
) -> Front:
    """Search in ``OneChoice`` with these choices of training. The run is named ``run``."""
    training = {"epochs": 4, "subset": 0.1, "search": options}
    return nas.search(
        {**BASE, **QUICK, "training": training, **changes},
        space=OneChoice(),
        train=train,
        runs=runs,
        progress=progress,
        instruments=instruments(with_training(OneChoice(), options)),
    )


def test_one_network_is_measured_once(tmp_path: Path) -> None:
    """A search with choices of training alone trains each of them, and measures one model and its winners."""
    tools = instruments(OneNetwork())
    front = nas.search({**BASE, **QUICK}, space=OneNetwork(), runs=tmp_path, instruments=tools)
    run = tmp_path / "run"
    (measured,) = evaluations_of(run, "measure")
    assert measured.details[FOR_ANY] == ["learning_rate", "weight_decay"]
    trained = {row.architecture for row in evaluations_of(run, "train")}
    assert trained == set(enumerate_space(OneNetwork()))
    assert len(tools.bench.measured) == 1 + len(front)  # type: ignore[union-attr]
    assert all(record.measurements for record in nas.load_run(run).records)
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "learning_rate (training)" in report
    assert "width (training)" not in report
    assert len({row.values["error"] for row in evaluations_of(run, "train")}) > 1
    with JournalReader(run) as journal:
        assert journal.rows(Began)[0].space["choices of training"] == ["learning_rate", "weight_decay"]


@pytest.mark.parametrize("limits", [[], ["latency_ms <= 1050us"]], ids=["no limit", "a limit"])
def test_networks_share_measurements_across_learning_rates(tmp_path: Path, limits: list[str]) -> None:
    """No two measured rows are of the same network; trained ones differ in rates; a limit holds for all of them."""
    search(tmp_path, Rated(), **{**QUICK, "trials": 9, "limits": limits})
    run = tmp_path / "run"
    widths = [row.architecture["width"] for row in evaluations_of(run, "measure")]
    assert len(widths) == len(set(widths))
    trained = [row.architecture for row in evaluations_of(run, "train")]
    assert len(trained) == len(set(trained))
    assert {architecture["learning_rate"] for architecture in trained} == set(RATES)
    assert not limits or all(latency_ms(architecture) <= 1.05 for architecture in trained)


def test_a_recipe_adds_choices_to_any_space(tmp_path: Path) -> None:
    """``[training.search]`` needs no code; a winner's bundle is loaded by the space itself; the run is resumed."""
    options = {"learning_rate": list(RATES), "epochs": [1, 2]}
    front = search_more(tmp_path, options)
    rows = evaluations_of(tmp_path / "run", "train")
    assert all(set(row.architecture) == {"width", "learning_rate", "epochs"} for row in rows)
    whole = [row for row in rows if not row.details["stopped_early"]]
    assert all(len(row.details["curve"]) == row.architecture["epochs"] for row in whole)
    assert len(front) > 0
    assert "learning_rate" in Bundle.read(front[0].bundle).about["choices"]  # type: ignore[arg-type]
    assert isinstance(front[0].load(OneChoice()), nn.Module)
    again = instruments(with_training(OneChoice(), options))
    assert nas.resume(tmp_path / "run", space=OneChoice(), instruments=again).winners == front.winners


def test_trainings_of_unlike_length_are_compared_apart(tmp_path: Path) -> None:
    """Early stopping judges the rungs of each number of epochs by itself, and retraining keeps the ratio."""
    diary = Diary()
    stopping = {"check": 3, "margin": 0.0, "keep": 0.01, "min_peers": 1, "least_correlation": -1.0}
    search_more(tmp_path, {"epochs": [2, 4]}, progress=diary, early_stopping=stopping, trials=12)
    with JournalReader(tmp_path / "run") as journal:
        judged = journal.rows(RungsJudged)
    assert {row.epochs for row in judged} == {2, 4}
    assert all(max(map(int, row.correlations)) < (row.epochs or 0) for row in judged)
    for row in evaluations_of(tmp_path / "run", "retrain"):
        assert row.details["epochs"] == max(1, round(row.architecture["epochs"] / 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"width": [1]}}, r"search must name keys of \[training\], but got 'width'"),
        ({"search": {"learning_rate": 0.1}}, r"search.learning_rate must be a list of options, but got 0.1"),
        ({"search": {"learning_rate": []}}, r"must be a list of options"),
        ({"search": {"learning_rate": [0.1, -1]}}, r"has the option -1: .*greater than 0"),
        ({"search": {"learning_rate": [0.1, 0.1]}}, r"must differ, but 0.1 comes more than once"),
        ({"search": {"device": ["cpu"]}}, r"search must name keys of \[training\], but got 'device'"),
        ({"search": [1]}, r"search must be a table"),
        ({"search": {"epochs": [2.0, 4.0]}}, r"search\.epochs has the option 2\.0: Input should be 2"),
    ],
)
def test_options_that_a_key_refuses_are_refused(changes: dict[str, Any], message: str) -> None:
    """The message names the key and the option."""
    with pytest.raises(RecipeError, match=message):
        nas.Recipe(training=changes)


def test_what_is_searched_must_be_trained(tmp_path: Path) -> None:
    """Names that clash, optimizers that do not exist and other evaluations are refused before anything runs."""
    added = {"training": {"epochs": 1, "search": {"learning_rate": list(RATES)}}}
    with pytest.raises(RecipeError, match="adds the choice 'learning_rate', but the space given has one"):
        search(tmp_path, Rated(), **added)
    with pytest.raises(RecipeError, match='evaluate = "train", but got "zero-cost" with learning_rate'):
        search(tmp_path, OneChoice(), evaluate="zero-cost", **added)
    with pytest.raises(RecipeError, match="must be one of timm's, but got 'adamx'"):
        search(tmp_path, OneChoice(), training={"search": {"optimizer": ["adamw", "adamx"]}})
    with pytest.raises(SpaceError, match=r"takes the place of training.batch_size, which refuses its option 0"):
        search(tmp_path, _With(Choice("batch_size", (0, 32), affects="training")))
    with pytest.raises(SpaceError, match=r"refuses its option 32\.0: Input should be 32\."):
        search(tmp_path, _With(Choice("batch_size", (16, 32.0), affects="training")))
    diary = Diary()
    search(tmp_path, _With(Choice("learning_rat", (0, 1), affects="training")), progress=diary, **QUICK)
    assert any("If 'learning_rate' is meant, rename it" in text for text in diary.news)


class _With(OneChoice):
    def __init__(self, *added: Choice) -> None:
        self.choices = (*OneChoice.choices, *added)


def test_the_rules_of_choices_of_training() -> None:
    """A space needs a choice of the network, which depends on none of training; others are told what is possible."""
    with pytest.raises(ValueError, match=r'must affect "network" or "training", but it affects \'device\''):
        Choice("a", (1,), affects="device")  # type: ignore[arg-type]
    only, dependent = Choice("a", (1, 2), affects="training"), Choice("b", (1,), when=("a", (1,)))
    for choices, message in (((only,), "all of Made affect training only"), ((only, dependent), "'b' depends on 'a'")):
        made = type("Made", (OneChoice,), {"choices": choices})()
        with pytest.raises(SpaceError, match=message):
            nas.check_space(made)


def test_samplers_see_choices_of_training_and_predictors_do_not() -> None:
    """What is counted and predicted is the same for all rates; a failed measurement counts for all, a NaN for one."""
    target = nas.Target.parse("onnxruntime-cpu")
    goals = [nas.Objective.parse(name) for name in ("error", "latency_ms")]
    beliefs = Beliefs(Rated(), signature=image_signature((1, 8, 8), 10), target=target, objectives=goals, limits=[])
    assert [choice.name for choice in beliefs.describer.choices] == ["width", "learning_rate"]
    assert [choice.name for choice in beliefs.device_describer.choices] == ["width"]
    slow, fast, other = (Architecture({"width": w, "learning_rate": r}) for w, r in ((2, 1e-3), (2, 1e-2), (3, 1e-2)))
    two = beliefs.describer.describe([slow, fast])
    assert (two.options[0] != two.options[1]).tolist() == [False, True]
    assert (two.layer_sums[0] == two.layer_sums[1]).all()
    assert beliefs.counted(slow) is not beliefs.counted(fast)
    assert beliefs.counted(slow) == beliefs.counted(fast) != beliefs.counted(other)
    beliefs.add(Evaluation("train", slow, failure=Failure("nan", "the loss is NaN")))
    assert (slow in beliefs.unfit, fast in beliefs.unfit) == (True, False)
    beliefs.add(Evaluation("measure", slow, failure=Failure("measure", "it crashed")))
    assert (slow in beliefs.unfit, fast in beliefs.unfit, other in beliefs.unfit) == (True, True, False)
    assert Screening(beliefs).judge(fast).reason == "failed before"


def noting(module: nn.Module, task: nas.Task, settings: Any) -> Iterator[dict[str, float]]:
    """Yield the learning rate in the place of an error."""
    for _ in range(settings.epochs):
        yield {"error": settings.learning_rate}


def test_a_function_of_the_users_gets_the_settings_of_the_candidate(tmp_path: Path) -> None:
    """Its settings are those that the architecture chooses; its epochs are its own."""
    options = {"learning_rate": [0.1, 0.2], "epochs": [1, 3]}
    search_more(tmp_path, options, train=noting, early_stopping={"enabled": False}, trials=9)
    rows = evaluations_of(tmp_path / "run", "train")
    assert {row.architecture["learning_rate"] for row in rows} == {0.1, 0.2}
    for row in rows:
        rate, epochs = float(row.architecture["learning_rate"]), int(row.architecture["epochs"])
        assert row.details["curve"] == [rate] * epochs


class Wider(OneChoice):
    """A space that says of its width that it affects training only."""

    choices = (Choice("depth", (1,)), Choice("width", (2, 4), affects="training"))


class Dropping(OneChoice):
    """A space whose dropout, which does nothing on a device, is a choice of training."""

    choices = (*OneChoice.choices, Choice("dropout", (0.0, 0.3), affects="training"))

    def build(self, architecture: Architecture) -> nn.Module:
        dropout = float(architecture["dropout"])
        return nn.Sequential(super().build(architecture), *([nn.Dropout(dropout)] if dropout else []))


def test_a_choice_of_training_changes_no_layer() -> None:
    """Where one does, the message says what to do; dropout is no layer of a device."""
    shape = image_signature((1, 8, 8), 10)
    rebuilder = Rebuilder(Wider(), shape)
    rebuilder.build(0)
    with pytest.raises(SpaceError, match=r"must not change what a device runs, but 'width' changes the layers of"):
        rebuilder.build(0)
    rebuilder = Rebuilder(Dropping(), shape)
    for _ in range(2):
        rebuilder.build(0)


class Twins(OneChoice):
    """A space with duplicates, layers by tracing, and a choice of training that depends on the network."""

    choices = (
        Choice("width", (4, 8)),
        Choice("same", (1, 2)),
        Choice("momentum", (0.8, 0.9), when=("width", (8,)), affects="training"),
    )

    def canonical(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**values, "same": 1}


def test_parts_are_architectures_without_choices_of_training() -> None:
    """Duplicates are joined in both; counts multiply; completing and splitting are inverse; identities are shared."""
    parts, seen = SpaceParts(Twins()), device_space(Twins())
    wholes = list(enumerate_space(Twins()))
    assert (count(Twins()), len(wholes), count(seen)) == (6, 3, 4)
    assert {parts.candidate(whole).on_device for whole in wholes} == set(enumerate_space(seen))
    assert all(parts.candidate(part).on_device == part for part in enumerate_space(seen))
    assert [len(parts.one_each(wholes)), parts.candidate(wholes[0])] == [2, wholes[0]]
    plain, shape = OneChoice(), image_signature((1, 8, 8), 10)
    searched: SearchSpace = with_training(plain, {"learning_rate": RATES})
    assert count(searched) == 2 * count(plain)
    assert device_space(plain) is plain
    assert space_identity(searched, shape) == space_identity(plain, shape)
    assert choices_hash(searched) != choices_hash(plain)
    assert with_training(plain, {}) is plain
    whole = nas.sample(searched, np.random.default_rng(0))
    assert isinstance(searched.build(whole), nn.Module)
