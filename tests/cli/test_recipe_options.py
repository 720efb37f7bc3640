"""Options that are made from the fields of a recipe."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import typer
from in_process import printed
from typer.testing import CliRunner

from nas.cli.recipe_options import FIELDS, key_option, own_options, takes_keys
from nas.recipe.recipe import Recipe
from nas.recipe.toml_text import apply_overrides
from nas.searching.shrinking import shrinking_recipe


def changes_of(*arguments: str) -> list[str]:
    """Return what a command with the options of keys, but for ``evaluate``, gets."""
    got: list[str] = []
    app = typer.Typer()

    @app.command()
    @takes_keys("evaluate")
    def command(name_of_all: str, changes: Sequence[str] = (), dry: bool = False) -> None:
        got.extend(changes)

    done = CliRunner().invoke(app, ["first", *arguments])
    if done.exit_code:
        raise ValueError(done.output)
    return got


def test_a_command_gets_the_options_that_were_used_as_changes_of_keys() -> None:
    """Texts stay texts, a list is given by repeating an option, and a section's name stands for the section."""
    given = ("--name", "7", "--data", "wine", "--task", "tables", "--limit", "error<=0.1", "--limit", "params<=1000")
    changes = changes_of(
        *given, "--trials", "9", "--time", "15min", "--executor", "inline", "--sampler", "tpe", "--dry"
    )
    recipe = Recipe.from_mapping(apply_overrides({"sampler": {"name": "gp", "starts": 2}}, changes))
    assert (recipe.name, recipe.data.name, recipe.data.task, recipe.trials) == ("7", "wine", "tables", 9)
    assert recipe.limits == ("error <= 0.1", "params <= 1000")
    assert (recipe.search_time_s, recipe.execution.executor) == (900.0, "inline")
    assert (recipe.sampler.name, recipe.sampler.options) == ("tpe", {})
    assert changes_of() == []


def test_a_key_of_one_value_may_take_a_list_by_repeating_its_option() -> None:
    changes = changes_of("--target", "onnxruntime-cpu", "--target", "pi/onnxruntime-cpu:int8")
    recipe = Recipe.from_mapping(apply_overrides({}, changes))
    assert recipe.further_targets == ("pi/onnxruntime-cpu:int8:batch=1:threads=1",)


def test_a_command_may_leave_options_out() -> None:
    with pytest.raises(ValueError, match="No such option"):
        changes_of("--evaluate", "table")


def test_help_has_the_description_of_each_key_and_its_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code in it is plain, and another key that has an option is named by that."""
    page = " ".join(printed(capsys, monkeypatch, "search", "--help").split())
    for name, key in own_options():
        assert f"--{name.replace('_', '-')} " in page
        assert (FIELDS[key].description or "").partition("``")[0].strip() in page
    assert "With --time alone, the time ends the search. [default: 40]" in page
    assert "such as 'latency_ms<=2ms'" in page


def test_help_of_shrink_has_its_own_defaults(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those of the recipe that it makes: the help of ``search`` says ``train`` and names no precisions."""
    page = " ".join(printed(capsys, monkeypatch, "shrink", "--help").split())
    assert "fitted heads or shared weights. [default: auto]" in page
    assert "[default: fp32 and int8, where the target and this machine run them]" in page
    assert "[default: train]" not in page
    made = shrinking_recipe({}, "small_parents:make_digits")
    assert (made.evaluate, made.precisions) == ("auto", ("fp32", "int8"))


def test_an_option_of_another_command_has_the_bounds_of_its_key() -> None:
    option = key_option("retraining.seeds", "--seeds", "N", default="the run's", note="At most all.")
    assert (option.min, option.max, option.metavar) == (1, 100, "N")
    assert str(option.help).endswith("At most all. [default: the run's]")
    assert key_option("limits").help == (
        "Upper bounds such as 'latency_ms<=2ms', at most one for each metric. Repeat for several."
    )
