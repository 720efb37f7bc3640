"""Where a recipe for shrinking says nothing of precisions, forms are searched in fp32 and int8."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nas.errors import RecipeError
from nas.hardware.devices.local_device import LocalDevice
from nas.recipe.recipe import Recipe
from nas.searching import shrinking
from nas.searching.precisions.choosing import with_usual_precisions
from nas.searching.shrinking import shrinking_recipe
from nas.values.target import Target

BOTH = ("fp32", "int8")


def chosen(**values: Any) -> tuple[str, ...]:
    """Return the precisions of a recipe with these keys, whose targets run on this machine."""
    return with_usual_precisions(values, lambda target: LocalDevice()).precisions


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"target": "onnxruntime-cpu:threads=2"},
        {"evaluate": "auto", "search_time_s": "20min"},
        {"evaluate": "supernet", "trials": 100},
        {"objectives": ["error", "model_bytes"]},
        {"objectives": ["error", "params"], "limits": ["latency_ms <= 2ms"]},
    ],
)
def test_both_are_searched_where_nothing_speaks_against_it(values: dict[str, Any]) -> None:
    assert chosen(**values) == BOTH


@pytest.mark.parametrize(
    "values",
    [
        {"precisions": []},
        {"target": "onnxruntime-cpu:fp32"},
        {"target": "onnxruntime-cpu:int8"},
        {"target": ["onnxruntime-cpu", "onnxruntime-cpu:int8"]},
        {"target": "torch-cpu"},
        {"target": ["onnxruntime-cpu", "torch-cpu"]},
        {"evaluate": "zero-cost"},
        {"training": {"folds": 3}},
        {"training": {"function": "module:train"}},
        {"execution": {"executor": "ray", "ray_address": "192.0.2.1:6379"}},
        {"objectives": ["error", "params"]},
    ],
)
def test_otherwise_the_recipe_stays_as_it_is(values: dict[str, Any]) -> None:
    """The target says its precision, another key would be refused with both, or int8 would change nothing."""
    assert chosen(**values) == tuple(values.get("precisions", ()))


@pytest.mark.parametrize(
    ("target", "precisions"),
    [("onnxruntime-cpu", BOTH), ("onnxruntime-cpu:threads=2", BOTH), ("onnxruntime-cpu:int8", ())],
)
def test_a_file_and_a_recipe_say_the_same(
    target: str, precisions: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recipe completes the names of its targets, but nobody named fp32."""
    monkeypatch.setattr(shrinking, "search", lambda recipe, **_: recipe)
    file = tmp_path / "recipe.toml"
    file.write_text(f'target = "{target}"\n')
    for given in ({"target": target}, str(file), file, Recipe(target=target)):
        made: Any = shrinking.shrink("small_parents:make_digits", given)
        assert made.precisions == precisions
        assert made.parsed_target == Recipe(target=target).parsed_target


def test_a_file_may_name_fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shrinking, "search", lambda recipe, **_: recipe)
    file = tmp_path / "recipe.toml"
    file.write_text('target = "onnxruntime-cpu:fp32"\n')
    made: Any = shrinking.shrink("small_parents:make_digits", file)
    assert made.precisions == ()


def test_precisions_that_are_named_stay() -> None:
    assert chosen(precisions=["int8-dynamic", "fp32"]) == ("fp32", "int8-dynamic")


def test_keys_that_were_left_out_stay_so() -> None:
    """The data may have defaults of their own for them."""
    recipe = with_usual_precisions({"training": {"epochs": 2}}, lambda target: LocalDevice())
    assert recipe.model_fields_set == {"training", "precisions"}
    assert recipe.training.model_fields_set == {"epochs"}


def test_each_device_must_run_int8() -> None:
    """A board is asked about int8, and this machine as well, because it finds the errors."""
    asked: list[str] = []

    def board_of(target: Target) -> Any:
        def why_unavailable(target: Target) -> str | None:
            asked.append(str(target))
            return "its processor is too old" if target.device == "old" else None

        return SimpleNamespace(why_unavailable=why_unavailable)

    assert with_usual_precisions({"target": "pi/onnxruntime-cpu:threads=4"}, board_of).precisions == BOTH
    assert asked == ["pi/onnxruntime-cpu:int8:batch=1:threads=4"]
    assert not with_usual_precisions({"target": ["pi/onnxruntime-cpu", "old/onnxruntime-cpu"]}, board_of).precisions


def test_a_device_that_nobody_added_is_told() -> None:
    with pytest.raises(RecipeError, match="nowhere"):
        shrinking_recipe({"target": "nowhere/onnxruntime-cpu"}, "timm:resnet18")
