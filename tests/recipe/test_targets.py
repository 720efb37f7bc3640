"""Several targets in one recipe: a list is taken apart, and limits name the target that they are of."""

from __future__ import annotations

from typing import Any

import pytest

from nas.errors import RecipeError
from nas.recipe.recipe import Recipe
from nas.recipe.toml_text import apply_overrides

BOTH = ("onnxruntime-cpu", "pi/onnxruntime-cpu:int8")


def test_a_list_of_targets_is_the_first_and_the_further_ones() -> None:
    """Its TOML is read as the same recipe; a recipe of one target has no such key."""
    recipe = Recipe(target=BOTH, limits=["pi/onnxruntime-cpu:int8/latency_ms <= 30ms", "latency_ms <= 5ms"])
    assert recipe.target == "onnxruntime-cpu:fp32:batch=1:threads=1"
    assert recipe.further_targets == ("pi/onnxruntime-cpu:int8:batch=1:threads=1",)
    assert recipe.limits == ("pi/latency_ms <= 30ms", "latency_ms <= 5ms")
    assert list(recipe.measured_targets) == ["fp32", "pi/int8"]
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert "further_targets" not in Recipe().to_toml()


def test_options_replace_all_targets_of_a_recipe() -> None:
    recipe = Recipe.from_mapping(apply_overrides({"target": list(BOTH)}, ['target=["torch-cpu"]']))
    assert (recipe.target, recipe.further_targets) == ("torch-cpu:fp32:batch=1:threads=1", ())


def test_the_first_target_has_no_name_however_it_is_written() -> None:
    assert Recipe(target="pi/onnxruntime-cpu", limits=["pi/latency_ms <= 3ms"]).limits == ("latency_ms <= 3ms",)


def test_precisions_to_choose_from_are_those_of_each_target() -> None:
    recipe = Recipe(target=["onnxruntime-cpu", "pi/onnxruntime-cpu"], precisions=["int8", "fp32"])
    assert list(recipe.measured_targets) == ["fp32", "int8", "pi/fp32", "pi/int8"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"limits": ["pi/latency_ms <= 3ms"]}, r"one of the targets \(onnxruntime-cpu\), but got 'pi'"),
        ({"target": BOTH, "limits": ["pi/error <= 3%"]}, "pi/error is known of winners alone: write error alone"),
        ({"target": BOTH, "objectives": ["pi/macs"]}, "macs is counted, and the same on all"),
        ({"target": BOTH, "precisions": ["fp32", "int8"]}, "or a target with one, but got both: fp32, int8 and pi/"),
        ({"target": BOTH, "evaluate": "table", "table": {"path": "a.csv"}}, "further targets are measured, but"),
        ({"target": []}, "a list of some, but got an empty list"),
        ({"target": ["onnxruntime-cpu", "onnxruntime-cpu"]}, "must differ, but onnxruntime-cpu comes twice"),
        ({"target": BOTH, "limits": ["pi/latency_ms <= 1ms", "pi/onnxruntime-cpu:int8/latency_ms <= 2ms"]},
         "a metric has one limit at most, but pi/latency_ms has several"),
    ],
)  # fmt: skip
def test_refuses_what_no_target_can_mean(keys: dict[str, Any], message: str) -> None:
    """The error says the rule, the value and what to do."""
    with pytest.raises(RecipeError, match=message):
        Recipe(**keys)
