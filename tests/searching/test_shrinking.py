"""Searches among the parts of a trained model: the parent first, tuned where it must be, and always a winner."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fake_bench
import pytest
import small_parents
import torch
from commands import evaluations_of
from quick_runs import BASE, Diary, Stopping, instruments
from safetensors.torch import load_file
from torch import nn

import nas
from nas.errors import LimitError, RecipeError
from nas.results.bundled.card import CARD
from nas.results.front import Front
from nas.searching.evaluating import parents, proxies
from nas.searching.evaluating.handful import record_agreement
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace, load_space
from nas.space.signature import image_signature
from nas.storage.run_files import PARENT_WEIGHTS as PARENT
from nas.tasks.images.images import Images
from nas.training.inheriting import inheritance_of

pytestmark = pytest.mark.usefixtures("quick_export", "latency_by_choices")

FEW: Mapping[str, Any] = {"widths": [0.5], "trunks": [0.5]}
KEYS: Mapping[str, Any] = {**BASE, "trials": 4, "rounds": 1, "retraining": {"epochs": 2, "winners": 2}}


def space_of(parent: str | nn.Module, **more: Any) -> SearchSpace:
    return load_space("shrunk", {"parent": parent, **FEW, **more}, image_signature((1, 8, 8), 10))


def shrink(
    runs: Path, parent: str | nn.Module = "small_parents:make_digits", progress: Any = None, **changes: Any
) -> Front:
    recipe = {**KEYS, "space": FEW, **changes}
    return nas.shrink(parent, recipe, runs=runs, progress=progress, instruments=instruments(space_of(parent)))


@pytest.fixture(name="trained", scope="module")
def _trained(digits: Images) -> nn.Module:
    """A model that tells most digits apart."""
    module = small_parents.make_digits()
    settings = nas.training_settings(nas.Recipe(training={"epochs": 2, "batch_size": 32, "device": "cpu"}))
    for _ in nas.Trainer(settings).train(module, digits.prepared_for(SCALED)):
        pass
    return module.eval()


SCALED = {"mean": [0.5], "std": [0.2]}
"""The scaling of pictures with which the trained parent was trained; that of digits is another."""


def error_on(module: nn.Module, digits: Images) -> float:
    inputs = digits.inputs_of((torch.from_numpy(digits.validation.images),))
    with torch.no_grad():
        found = module(*inputs).argmax(1).numpy()
    return float((found != digits.validation.labels).mean())


@pytest.mark.slow
def test_the_parent_comes_first_as_it_is_and_is_always_a_winner(
    tmp_path: Path, trained: nn.Module, digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit that the parent breaks makes others winners, and the parent stands beside them.

    All see pictures as the parent's own training did.
    """
    space, diary, seen = space_of(trained, preparation=SCALED), Diary(), []
    assert isinstance(space, nas.HasParent)

    def seeing(space: nas.HasParent, parent: nn.Module, task: Any, wishes: Any) -> bytes:
        seen.append(task.mean.tolist())
        return inheritance_of(space, parent, task, wishes)

    monkeypatch.setattr(parents, "inheritance_of", seeing)
    tools = instruments(space)
    recipe = {**KEYS, "retraining": {"epochs": 1, "winners": 1}, "limits": ["latency_ms <= 8ms"]}
    front = nas.search(recipe, space=space, runs=tmp_path, progress=diary, instruments=tools)
    first, *others = evaluations_of(tmp_path / "run", "train")
    assert first.architecture == space.parent
    assert first.details["epochs"] == 0
    assert first.values["error"] == pytest.approx(error_on(trained, digits.prepared_for(SCALED)))
    assert first.values["error"] < error_on(trained, digits)
    assert seen == [SCALED["mean"]]
    assert all(row.details["epochs"] == 2 for row in others)
    assert "tuning the parent" not in diary.stages
    winners = {winner.architecture: winner for winner in front}
    parent = winners.pop(space.parent)
    assert not parent.meets(front.limits)
    assert parent.is_parent
    assert parent.bundle is not None
    assert "nothing was trained for it" in (parent.bundle / CARD).read_text()
    assert not any(winner.is_parent for winner in winners.values())
    told = [notes[0] for winner, notes in zip(front, front.notes, strict=True) if not winner.is_parent]
    form = re.compile(r" keeps [\d.]+ % of the parent's test accuracy at \d+ % of its latency\.$")
    assert all(map(form.search, told))
    assert winners
    assert all(winner.meets(front.limits) for winner in winners.values())
    x = torch.randn((3, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(parent.load()(x), trained(x))
    # A part that began from the parent's weights, and learns from it, is far better than chance after one epoch.
    assert min(row.values["error"] for row in others) < 0.7


@pytest.mark.slow
def test_parts_are_scored_with_weights_of_one_tuning(
    tmp_path: Path, trained: nn.Module, digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At all resolutions. The parent stays as it is, and winners are tuned on from the weights that they shared."""
    checked: dict[Architecture, float] = {}

    def record(state: Any, way: str, quick: Mapping[Architecture, float], *more: Any) -> None:
        checked.update(quick)
        record_agreement(state, way, quick, *more)

    monkeypatch.setattr(proxies, "record_agreement", record)
    space = load_space(
        "shrunk",
        {"parent": trained, "widths": [0.5, 1.0], "trunks": [1.0], "sizes": [6], "preparation": SCALED},
        image_signature((1, 8, 8), 10),
    )
    diary = Diary()
    recipe = {
        **KEYS,
        "trials": 8,
        "evaluate": "supernet",
        "supernet": {"epochs": 2, "check": 3},
        "training": {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3},
        "retraining": {"epochs": 1, "winners": 2, "start": "supernet"},
    }
    front = nas.search(recipe, space=space, runs=tmp_path, progress=diary, instruments=instruments(space))
    rows = {row.architecture: row for row in evaluations_of(tmp_path / "run", "train")}
    first, others = rows.pop(space.parent), list(rows.values())
    assert "by" not in first.details
    assert first.values["error"] == pytest.approx(error_on(trained, digits.prepared_for(SCALED)))
    assert {row.details["by"] for row in others} == {"supernet"}
    assert {row.architecture["image_size"] for row in others} == {6, 8}
    assert min(row.values["error"] for row in others) < 0.3
    in_both = [each for each in checked if each in rows]
    assert in_both
    assert [checked[each] for each in in_both] == [rows[each].values["error"] for each in in_both], "one measure"
    parent = next(winner for winner in front if winner.is_parent)
    x = torch.randn((3, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(parent.load()(x), trained(x))
    starts = {row.architecture: row.details.get("start") for row in evaluations_of(tmp_path / "run", "retrain")}
    assert {starts[each] for each in starts if each != space.parent} == {"supernet"}
    assert any(text.startswith("errors by shared weights and separate trainings rank") for text in diary.news)


@pytest.mark.slow
def test_a_parent_with_another_head_is_tuned_first(tmp_path: Path) -> None:
    """It is told why. A run that is stopped goes on with the same parent, and its winners load by name."""
    parent = "small_parents:make_colours"
    diary = Stopping("round 1/1: training")
    training = {"epochs": 1, "batch_size": 32, "learning_rate": 5e-3}
    with pytest.raises(KeyboardInterrupt):
        shrink(tmp_path, parent, diary, training=training)
    assert "tuning the parent" in diary.stages
    told = next(text for text in diary.news if text.startswith("the parent is tuned on the data first, because"))
    assert "it has 5 outputs and the data have 10 classes, so its head is new" in told
    kept = (tmp_path / "run" / PARENT).read_bytes()
    diary = Diary()
    front = nas.resume(tmp_path / "run", progress=diary, instruments=instruments(space_of(parent)))
    assert "tuning the parent" not in diary.stages
    assert (tmp_path / "run" / PARENT).read_bytes() == kept
    first, *_ = evaluations_of(tmp_path / "run", "train")
    assert first.values["error"] < 0.8
    smallest = min(front, key=lambda winner: fake_bench.size_by_choices(winner.architecture))
    whole = max(front, key=lambda winner: fake_bench.size_by_choices(winner.architecture))
    (tuned,) = (winner.bundle for winner in front if winner.is_parent)
    assert tuned is not None
    assert "It was tuned on the training items before the search began." in (tuned / CARD).read_text()
    count = [sum(p.numel() for p in winner.load().parameters()) for winner in (smallest, whole)]
    assert count[0] < count[1]


@pytest.mark.slow
def test_the_parent_of_an_earlier_run_is_taken_as_it_is(tmp_path: Path, digits: Images) -> None:
    """It is tuned again only on other data, other splits of them, or with another preparation.

    What it saw pictures by comes with it.
    """
    parent = "small_parents:make_colours"
    training = {"epochs": 1, "batch_size": 32, "learning_rate": 5e-3, "device": "cpu"}
    more = {"training": training, "retraining": {"epochs": 1}}

    def parent_of(name: str, weights: Path | None = None, **changes: Any) -> tuple[Diary, dict[str, torch.Tensor]]:
        diary = Stopping("round 1/1: training")
        space = space_of(parent, **({} if weights is None else {"weights": str(weights)}))
        recipe = {**KEYS, "name": name, "space": FEW, **more, **changes}
        with pytest.raises(KeyboardInterrupt):
            nas.shrink(parent, recipe, weights=weights, runs=tmp_path, progress=diary, instruments=instruments(space))
        return diary, load_file(tmp_path / name / PARENT)

    own = {"preparation": {"mean": [0.4], "std": [0.3]}}
    diary, first = parent_of("first", space={**FEW, **own})
    assert "tuning the parent" in diary.stages
    left = tmp_path / "first" / PARENT
    diary, again = parent_of("again", left)
    assert "tuning the parent" not in diary.stages
    assert "an earlier run had the parent on these data and splits, so it is taken as it is" in diary.news
    assert first.keys() == again.keys()
    for name, tensor in first.items():
        rtol, atol = (1e-3, 1e-9) if name.startswith("importance") else (0, 0)
        torch.testing.assert_close(again[name], tensor, rtol=rtol, atol=atol)
    space: Any = space_of(parent, weights=str(left))
    assert nas.wishes_of(space, space.parent) == own["preparation"]
    assert any(note.startswith("the parent is the one that an earlier run used on digits:") for note in space.notes)
    same: Any = space_of(parent, weights=str(left), preparation={"mean": (0.4,), "std": [0.3]})
    changed: Any = space_of(parent, weights=str(left), preparation={"mean": [0.5], "std": [0.3]})
    assert same.untuned == ()
    task = digits.prepared_for(nas.wishes_of(changed, changed.parent))
    assert changed.tuned_on == task.fingerprint
    assert parents.why_untuned(changed, task) == (("it was tuned with another preparation",), "")
    diary, other = parent_of("other", left, data={"validation_share": 0.3})
    assert "tuning the parent" in diary.stages
    assert any("because an earlier run had it on other data" in text for text in diary.news)
    assert parents.MAY_HAVE_LEARNED in diary.news
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.slow
def test_limits_that_nothing_meets_are_told_before_the_parent_is_tuned(tmp_path: Path) -> None:
    diary = Diary()
    with pytest.raises(LimitError, match=r"nothing that was found in the space meets params <= 1"):
        shrink(tmp_path, "small_parents:make_colours", diary, limits=["params <= 1"])
    tools = instruments(space_of("small_parents:make_colours"))
    keys = {**KEYS, "space": FEW, "name": "single"}
    with pytest.raises(LimitError, match=r"nothing that was found in the space meets params <= 2"):
        nas.shrink("small_parents:make_colours", keys, limits="params <= 2", runs=tmp_path, instruments=tools)
    assert "tuning the parent" not in diary.stages


def test_layers_that_stay_whole_are_told_before_anything_runs(tmp_path: Path) -> None:
    diary = Stopping("measuring")
    with pytest.raises((KeyboardInterrupt, LimitError)):
        shrink(tmp_path, "small_parents:make_rigid", diary, limits=["params <= 1"])
    note = next(text for text in diary.news if text.startswith("note: layers of small_parents:make_rigid"))
    first = ("run folder: ", "note: ", "trying how the parent sees", "warning: the parent is no better")
    assert all(text.startswith(first) for text in diary.news[: diary.news.index(note)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluate": "zero-cost"}, 'evaluate must be "auto", "train" or "supernet" with the space'),
        (
            {"evaluate": "table", "table": {"path": "any.csv.gz"}},
            'evaluate must be "auto", "train" or "supernet" with the space',
        ),
        ({"training": {"function": "own_trainings:plain"}}, "Leave the function out"),
        ({"space": "mobilenet"}, "shrink searches the space 'shrunk', but the recipe names 'mobilenet'"),
    ],
)
def test_parts_of_a_parent_are_only_trained_here(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        shrink(tmp_path, **changes)


def test_what_is_no_parent_or_recipe_is_refused() -> None:
    with pytest.raises(RecipeError, match="a parent is a torch module, module:function or timm:NAME, but got 3"):
        nas.shrink(3)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=r"a mapping of keys .*, but got 3"):
        nas.shrink("timm:resnet18", 3)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_module_is_shrunk_on_named_data(tmp_path: Path, trained: nn.Module) -> None:
    """A module needs no name. What is too large for a limit by counts is never tuned."""
    tools = instruments(space_of(trained))
    keys = {**KEYS, "trials": 2}
    with pytest.raises(RecipeError, match=r"data=… takes a nas\.Task"):
        nas.shrink(trained, keys, data=3, instruments=tools)  # type: ignore[arg-type]
    keys["space"], keys["limits"] = {**FEW, "preparation": SCALED}, ["params <= 1"]
    with pytest.raises(LimitError):
        nas.shrink(trained, keys, data="digits", runs=tmp_path, progress=None, instruments=tools)


@pytest.mark.slow
def test_parts_of_a_parent_choose_their_precision(tmp_path: Path, trained: nn.Module, digits: Images) -> None:
    """The parent comes first as it is, and in int8 from the same weights."""
    space = space_of(trained, preparation=SCALED)
    assert isinstance(space, nas.HasParent)
    clock, benches = fake_bench.FakeClock(), {name: fake_bench.InAnyPrecision(space) for name in ("fp32", "int8")}
    tools = nas.Instruments(benches=benches, looks_apart=False, clock=clock, stopwatch=clock)
    recipe = {**KEYS, "precisions": ["fp32", "int8"], "trials": 2, "retraining": {"epochs": 1, "winners": 1}}
    front = nas.search(recipe, space=space, runs=tmp_path, progress=None, instruments=tools)
    rows = evaluations_of(tmp_path / "run", "train")
    assert [row.architecture["precision"] for row in rows] == ["fp32", "int8"] * 2
    assert [row.is_shared for row in rows] == [False, True] * 2
    parent, small, *_ = rows
    assert parent.architecture.without(["precision"]) == small.architecture.without(["precision"]) == space.parent
    assert parent.details["epochs"] == 0
    assert parent.values["error"] == pytest.approx(error_on(trained, digits.prepared_for(SCALED)))
    assert small.values["error"] == pytest.approx(parent.values["error"], abs=0.1)
    winners = {winner.architecture: winner for winner in front}
    x = torch.randn((3, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(winners[parent.architecture].load(space=space)(x), trained(x))


@pytest.mark.slow
def test_winners_have_their_own_resolution(tmp_path: Path, trained: nn.Module) -> None:
    """A part that sees smaller pictures is trained, exported and tested with them, and its bundle says so."""
    options = {"parent": trained, "widths": [1.0], "trunks": [1.0], "sizes": [6], "preparation": SCALED}
    space = load_space("shrunk", options, image_signature((1, 8, 8), 10))
    recipe = {**KEYS, "limits": ["latency_ms <= 14ms"]}
    front = nas.search(recipe, space=space, runs=tmp_path, progress=None, instruments=instruments(space))
    small = [winner for winner in front if winner.architecture["image_size"] == 6]
    assert small
    assert small[0].load(space=space)(torch.zeros(1, 1, 6, 6)).shape == (1, 10)
    assert small[0].bundle is not None
    assert nas.outputs_of(small[0].bundle / "model.onnx", (torch.zeros(1, 1, 6, 6).numpy(),)).shape == (1, 10)
