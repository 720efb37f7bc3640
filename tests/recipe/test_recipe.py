"""A recipe survives TOML, takes overrides, and explains each mistake in one sentence."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import BaseModel, ValidationError

from nas.errors import RecipeError
from nas.recipe.recipe import Recipe, read_recipe, read_recorded_recipe
from nas.recipe.toml_text import apply_overrides, read_toml
from nas.values.metric import METRICS

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts
options = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
recipes = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,9}\Z|\A\Z"),
        "seed": st.integers(0, 2**32 - 1),
        "data": st.fixed_dictionaries({"name": texts.filter(bool), "root": st.none() | texts}),
        "space": st.dictionaries(texts, options, max_size=3).map(lambda extra: {**extra, "name": "mobilenet"}),
        "objectives": st.lists(st.sampled_from(sorted(METRICS)), min_size=1, max_size=4, unique=True),
        "limits": st.lists(st.sampled_from(sorted(METRICS)), max_size=3, unique=True).flatmap(
            lambda names: st.tuples(
                *(st.floats(0, 1).map(f"{name} <= {{!r}}{METRICS[name].unit}".format) for name in names)
            )
        ),
        "trials": st.integers(3, 1000),
        "predictor": texts | st.fixed_dictionaries({"name": texts, "seeds": options}),
        "sampler": texts | st.fixed_dictionaries({"name": texts, "population": options}),
        "training": st.fixed_dictionaries({"learning_rate": st.floats(0, 1e9, exclude_min=True)}),
    }
)


@pytest.mark.slow
@given(recipes)
@settings(deadline=None)
def test_a_recipe_survives_toml(values: dict[str, Any]) -> None:
    """With any strings and options, the written text is read as the same recipe."""
    recipe = Recipe.from_mapping(values)
    back = Recipe.from_mapping(tomllib.loads(recipe.to_toml()))
    assert back == recipe
    for plug_in in ("space", "sampler", "predictor"):
        assert getattr(back, plug_in).options == getattr(recipe, plug_in).options


@pytest.mark.parametrize(
    "text", ["a\r\nb\r", "\x01\x7f\x85", "\u2028 é \U0001f600", '"""', "\\n", "[x]\ny = 1", "", "\t# "]
)
def test_unusual_strings_survive_a_file(tmp_path: Path, text: str) -> None:
    """The file keeps line ends, control characters, quotes and backslashes, also in keys."""
    recipe = Recipe.from_mapping({"data": f"a{text}", "space": {"name": text, f"key {text}": [{text: text}]}})
    path = tmp_path / "recipe.toml"
    path.write_bytes(recipe.to_toml().encode())
    assert read_recipe(path) == recipe


def test_every_default_is_written_out() -> None:
    """So a recipe on disk keeps its meaning when a later version has other defaults."""
    written = tomllib.loads(Recipe().to_toml())
    assert written["training"]["epochs"] == Recipe().training.epochs
    optional = {"data.root", "data.image_size", "data.validation_share", "training.teacher", "training.function"}
    optional |= {"retraining.teacher", "execution.ray_address", "execution.gpus_per_worker"}
    optional |= {"energy.rapl_root", "energy.gco2e_per_kwh"}
    optional |= {f"table.{key}" for key in ("path", "accuracy", "test_accuracy", "device")}
    missing = {
        f"{table}.{key}"
        for table, part in Recipe()
        if isinstance(part, BaseModel)
        for key in type(part).model_fields
        if key not in written[table]
    }
    assert missing == optional


def test_a_time_alone_ends_a_search() -> None:
    """A number of candidates that is given too ends it as well, and TOML keeps the difference."""
    timed = Recipe(search_time_s="15min")
    assert timed.has_time_alone
    assert Recipe.from_toml(timed.to_toml()) == timed
    assert Recipe(search_time_s="15min", trials=40).trials == 40
    assert not Recipe(search_time_s="15min", trials=40).has_time_alone
    assert not Recipe().has_time_alone
    assert Recipe().trials == 40


def test_spellings_are_brought_into_one_form() -> None:
    """Different spellings of one target, objective or limit give the same recipe; a limit keeps its unit."""
    one = Recipe(target="onnxruntime-cpu", objectives=("accuracy",), limits=("accuracy>=95%", "latency_ms ≤ 2000 µs"))
    other = Recipe(
        target="onnxruntime-cpu:fp32:threads=1", objectives=("error",), limits=("error <= 0.05", "latency_ms <= 2ms")
    )
    assert one.differences(other) == {}
    assert one.parsed_limits == other.parsed_limits
    assert one.limits == ("accuracy >= 95%", "latency_ms <= 2000µs")


def test_a_recipe_cannot_be_changed() -> None:
    """A recipe and its sections are frozen."""
    with pytest.raises(ValidationError, match="frozen"):
        Recipe().trials = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        Recipe().training.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"name": "mine"}, "mine"),
        ({}, "digits-auto"),  # until the task of the data names a space
        ({"data": "folder:/data/My Birds", "space": "my.space:Mine"}, "folder--data-My-Birds-my.space-Mine"),
        ({"data": {"task": "tables"}, "space": "mlp"}, "tables-mlp"),
        ({"data": "../..", "space": "/"}, "run"),
    ],
)
def test_a_run_always_has_a_name_that_a_folder_can_have(values: dict[str, Any], name: str) -> None:
    """The name has no slashes and colons, and does not begin with a dot."""
    assert Recipe.from_mapping(values).run_name == name


KNOWN = "Known: data, early_stopping, energy, evaluate, execution, further_targets, limits, measuring, name, "


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trainng": {}}, f"a recipe has no key 'trainng'. Did you mean 'training'? {KNOWN}"),
        ({"training": {"epoch": 3}}, "a recipe has no key 'training.epoch'. Did you mean 'epochs'? Known: augment, "),
        ({"xyzzy": 1}, f"a recipe has no key 'xyzzy'. {KNOWN}"),
        ({"training": {"epochs": 0}}, "training.epochs: input should be greater than or equal to 1, but got 0."),
        ({"training": {"epochs": 1.5}}, "training.epochs: input should be a valid integer, got a number with a fract"),
        ({"training": {"learning_rate": float("inf")}}, "training.learning_rate: input should be a finite number, but"),
        ({"training": 3}, "training: input should be a table of keys, but got 3."),
        ({"trials": "many"}, "trials: must be a number, but got 'many'."),
        ({"trials": "5"}, "trials: must be a number, but got '5'."),
        ({"trials": True}, "trials: must be a number, but got true."),
        ({"trials": 10**25}, "trials: must be at most 1000000000, but got a number of 26 digits."),
        ({"seed": 2**32}, "seed: must be at most 4294967295, but got 4294967296."),
        (
            {"table": {"training_s": 1e308}},
            "table.training_s: must be at most 1000000000, but got a number of 309 digits.",
        ),
        ({"table": {"input_shape": [True, 8, 8]}}, "table.input_shape: must be a number, but got true."),
        ({"training": {"augment": 1}}, "training.augment: must be true or false, but got '1'."),
        ({"measuring": {"reuse": "no"}}, "measuring.reuse: must be true or false, but got 'no'."),
        ({"training": {"time_limit_s": "30"}}, "a time needs a unit: write 30s, 30min or 30h, but got '30'."),
        ({"data": "folder:a\0b"}, "data.name: must be text in UTF-8 without NUL characters, but got 'folder:a"),
        ({"table": {"path": "\udcff.csv"}}, "table.path: must be text in UTF-8 without NUL characters, but got "),
        ({"space": {"name": "mobilenet", "preset": "\0"}}, "'preset' must be text in UTF-8 without NUL"),
        (
            {"space": {"name": "mobilenet", "widths": [None]}},
            "'widths' must be text, a number, true or false, or a list or a table of these, but got None.",
        ),
        ({"epochs": 4}, "no key 'epochs'. Did you mean 'training.epochs' or 'supernet.epochs' or 'retraining.epochs'?"),
        ({"epoch": 4}, "no key 'epoch'. Did you mean 'training.epochs' or 'supernet.epochs' or 'retraining.epochs'?"),
        ({"training": {"winners": 4}}, "a recipe has no key 'training.winners'. Did you mean 'retraining.winners'?"),
        ({"limits": ["latency_ms <= 60"]}, "limits: a limit on latency_ms needs a unit, such as 2ms, but got '60'."),
        ({"objectives": ["x" * 5000]}, "objectives: unknown metric"),
        ({"sampler": 3}, "sampler: input should be a table of keys, but got 3."),
        ({"predictor": {"name": 3}}, "predictor.name: input should be a valid string, but got 3."),
        (
            {"energy": {"meter": "command"}},
            'energy: the meter "command" needs a command: a list, the program',
        ),
        (
            {"energy": {"meter": "rapl", "command": ["joules"]}},
            'energy: a command is for the meter "command", but got [\'joules\'] with the meter "rapl". Leave one',
        ),
        ({"execution": {"gpus_per_worker": 1.5}}, "a share of one GPU or a whole number of them, but got 1.5."),
        (
            {"execution": {"ray_address": "ray://head:10001"}},
            "execution.ray_address: a search runs on a node of the cluster, and takes the head's address, such as host",
        ),
        *(
            (
                {"training": {"device": "cuda"}, "execution": execution},
                'training.device "cuda" needs execution.gpus_per_worker, a share of one GPU or a whole number of them, '
                f"which in a cluster has no default, but got {gpus}. Give it, or train on the cpu.",
            )
            for execution, gpus in (({"ray_address": "auto"}, "None"), ({"gpus_per_worker": 0}, "0.0"))
        ),
        ({"name": "a/b"}, "name: string should match pattern"),
        (
            {"target": "onnxruntime-cpu:fp23"},
            "target: parts of a target are a precision, batch=N or threads=N, but got",
        ),
        ({"objectives": ["latncy"]}, "objectives: unknown metric 'latncy'. Did you mean 'latency_ms'?"),
        ({"objectives": []}, "objectives: objectives are one to four different metrics, but got []."),
        (
            {"objectives": ["error", "accuracy"]},
            "objectives: objectives are one to four different metrics, but got ['e",
        ),
        ({"objectives": "error"}, "objectives: input should be a list, but got 'error'."),
        (
            {"limits": ["latency_ms <= 2mJ"]},
            "limits: the unit of latency_ms is one of ns, us, µs, μs, ms, s, but got 'm",
        ),
        ({"limits": ["macs <= 2", "macs <= 3"]}, "limits: a metric has one limit at most, but macs has several."),
        (
            {"evaluate": "tabel"},
            "evaluate: unknown value 'tabel'. Did you mean 'table'? Known: auto, supernet, table, train, zero-cost.",
        ),
        ({"evaluate": "table"}, "evaluate = 'table' needs a table, but there is none: set table.path=table.csv.gz."),
        (
            {"prior": "macs", "evaluate": "table", "table": {"path": "t"}},
            'which has no data, but got "macs".',
        ),
        ({"table": {"path": "t.csv"}}, "but got 'train' with table.path 't.csv': set evaluate=table, or leave"),
        ({"table": {"input_shape": [3, 0, 8]}}, "channels, height and width must be at least 1, but got [3, 0, 8]."),
        ({"table": {"pause_s": -1}}, "table.pause_s: input should be greater than or equal to 0, but got -1."),
    ],
)
def test_an_error_names_the_key_the_rule_and_the_value(values: dict[str, Any], message: str) -> None:
    """It names the nearest known name too, where there is one."""
    with pytest.raises(RecipeError, match=re.escape(message)):
        Recipe.from_mapping(values)


def test_all_errors_are_reported_at_once() -> None:
    """Each error has a line of its own."""
    with pytest.raises(RecipeError) as caught:
        Recipe.from_mapping({"trials": -1, "target": "", "training": {"epoch": 1}})
    assert [line[:20] for line in str(caught.value).splitlines()] == [
        "target: a target sta",
        "trials: input should",
        "a recipe has no key ",
    ]


class TestOverrides:
    @pytest.mark.parametrize(
        ("overrides", "change"),
        [
            (["training.epochs=4"], {"training": {"epochs": 4, "subset": 0.5}}),
            (["training.subset = 0.25"], {"training": {"subset": 0.25}}),
            (["early_stopping.enabled=false"], {"early_stopping": {"enabled": False}}),
            (["name=first", "name=second"], {"name": "second"}),
            (['limits=["latency_ms <= 2ms"]'], {"limits": ["latency_ms <= 2ms"]}),
            (["data.root=/data/a=b"], {"data": {"name": "digits", "root": "/data/a=b"}}),
            (["space.cells=3"], {"space": {"name": "nasbench201", "cells": 3}}),
            (["space=mobilenet", "space.preset=32x32"], {"space": {"name": "mobilenet", "preset": "32x32"}}),
            (["sampler=nsga2", "sampler.population=8"], {"sampler": {"name": "nsga2", "population": 8}}),
            (["predictor.name=gp"], {"predictor": {"name": "gp"}}),
            (["name=3\nseed=4"], {"name": "3\nseed=4"}),
            (["name=3 # three"], {"name": "3 # three"}),
            (["name=3,"], {"name": "3,"}),
            (["limits=[\n'macs <= 2',\n]"], {"limits": ["macs <= 2"]}),
            (["seed=" + "9" * 5000], {"seed": "9" * 5000}),
            (["limits=" + "[" * 5000], {"limits": "[" * 5000}),
        ],
    )
    def test_set_one_value_each(self, overrides: list[str], change: dict[str, Any]) -> None:
        """Values are TOML, or else text. A name becomes a table where a key of it is set. The last override holds."""
        values = {"data": "digits", "space": "nasbench201", "training": {"subset": 0.5}}
        assert apply_overrides(values, overrides) == {**values, **change}
        assert values == {"data": "digits", "space": "nasbench201", "training": {"subset": 0.5}}

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("training.epochs", "--set takes key=value, such as training.epochs=4, but got 'training.epochs'."),
            ("=4", "--set takes key=value"),
            ("trials.epochs=4", "--set trials.epochs=4: 'trials' is not a table but 40."),
        ],
    )
    def test_that_set_nothing_are_refused(self, override: str, message: str) -> None:
        """The error quotes the override."""
        with pytest.raises(RecipeError, match=re.escape(message)):
            apply_overrides({"trials": 40}, [override])

    def test_of_a_name_keep_the_options_that_belong_to_it(self) -> None:
        """The options of another sampler are dropped, and the user is told so."""
        values = {"sampler": {"name": "nsga2", "population": 8}, "data": {"name": "digits", "image_size": 8}}
        said: list[str] = []
        assert apply_overrides(values, ["sampler=nsga2"], said.append)["sampler"] == values["sampler"]
        assert apply_overrides(values, ["data=fashion-mnist"], said.append)["data"]["image_size"] == 8
        assert said == []
        assert apply_overrides(values, ["sampler=gp"], said.append)["sampler"] == "gp"
        assert said == ["the sampler gp does not get the recipe's options of nsga2: population"]

    def test_of_unknown_keys_are_refused_as_in_a_file(self, tmp_path: Path) -> None:
        """Overrides go through the same checks as a file."""
        path = tmp_path / "recipe.toml"
        path.write_text("trials = 5\n")
        assert read_recipe(path, ["training.epochs=4"]) == Recipe(trials=5, training={"epochs": 4})
        with pytest.raises(RecipeError, match=r"no key 'training\.epoch'\. Did you mean 'epochs'"):
            read_recipe(path, ["training.epoch=4"])


class TestFiles:
    def test_that_are_missing_are_refused(self, tmp_path: Path) -> None:
        """The message has the path."""
        with pytest.raises(RecipeError, match=r"a recipe is a TOML file, but .*/none\.toml does not exist"):
            read_toml(tmp_path / "none.toml")

    @pytest.mark.parametrize(
        "content", [b"trials = ", b"trials: 40\n", b"\xff\xfe", b"\x00", b"a = 1\na = 2\n", b"trials = " + b"9" * 5000]
    )
    def test_that_are_not_toml_are_refused(self, tmp_path: Path, content: bytes) -> None:
        """The message says what is wrong."""
        path = tmp_path / "recipe.toml"
        path.write_bytes(content)
        with pytest.raises(RecipeError, match=r"a TOML file.*, but .*/recipe\.toml is (not|in another encoding): .+"):
            read_toml(path)

    def test_that_cannot_be_read_are_refused(self, tmp_path: Path) -> None:
        """A folder is no file, and no path leads through a file."""
        (tmp_path / "file").touch()
        for path in (tmp_path, tmp_path / "file" / "recipe.toml"):
            with pytest.raises(
                RecipeError, match=r"a recipe is a TOML file, but .* (is a folder|cannot be opened: Not a directory)"
            ):
                read_toml(path)


@pytest.mark.parametrize(("written", "seconds"), [(90, 90), ("90s", 90), ("1.5 min", 90), ("2h", 7200)])
def test_a_search_time_may_have_a_unit(written: object, seconds: float) -> None:
    """The recipe holds it in seconds."""
    recipe = Recipe.from_mapping({"search_time_s": written})
    assert recipe.search_time_s == seconds
    assert Recipe.from_toml(recipe.to_toml()) == recipe


@pytest.mark.parametrize("written", ["15 minutes", "-3s", "0s", "soon", "", "45", "1"])
def test_a_malformed_search_time_is_refused(written: str) -> None:
    """The message says how a time is written, or that it must be positive."""
    with pytest.raises(
        RecipeError,
        match=r"search_time_s: (a time is written like 90s|a time needs a unit|input should be greater than 0)",
    ):
        Recipe.from_mapping({"search_time_s": written})


def test_differences_name_keys_with_both_values() -> None:
    """Keys of sections are dotted, and a missing value is "not set"."""
    here = Recipe(seed=1, training={"epochs": 3}, search_time_s=60, trials=40)
    assert here.differences(Recipe(training={"epochs": 3})) == {
        "seed": ("1", "0"),
        "search_time_s": ("60.0", "not set"),
    }
    assert here.differences(here) == {}


def test_measured_values_come_from_the_target_or_from_the_table() -> None:
    """A report shows this origin."""
    assert Recipe(target="onnxruntime-cpu").measured_on == "onnxruntime-cpu:fp32:batch=1:threads=1"
    table = Recipe(evaluate="table", table={"path": "t.csv"}, space="mobilenet")
    assert (table.measured_on, table.run_name) == ("table", "table-mobilenet")
    assert Recipe(evaluate="table", table={"path": "t.csv", "device": "pixel3"}).measured_on == "table:pixel3"
    assert Recipe.from_mapping(tomllib.loads(table.to_toml())) == table


def test_winners_may_start_from_shared_weights_only_where_there_are_some() -> None:
    """The message says which value the other key must have."""
    with pytest.raises(RecipeError, match=r'evaluate must be "supernet", but got "train"'):
        Recipe(retraining={"start": "supernet"})
    assert Recipe(evaluate="supernet", retraining={"start": "supernet"}).retraining.start == "supernet"


@pytest.mark.parametrize("section", ["space", "sampler", "predictor"])
def test_a_plug_in_is_a_name_or_a_table_with_options(section: str) -> None:
    """A recipe of version 0.5.0 has the name alone, and means the same."""
    alone = Recipe.from_toml(f'{section} = "gp"\n')
    assert alone == Recipe.from_mapping({section: {"name": "gp"}})
    assert (getattr(alone, section).name, getattr(alone, section).options) == ("gp", {})
    with_options = Recipe.from_mapping({section: {"name": "mine:Made", "depth": 3, "kernels": [1, 3]}})
    assert getattr(with_options, section).options == {"depth": 3, "kernels": [1, 3]}
    assert with_options.differences(alone) == {
        f"{section}.name": ('"mine:Made"', '"gp"'),
        f"{section}.depth": ("3", "not set"),
        f"{section}.kernels": ("[1, 3]", "not set"),
    }


def test_a_recipe_of_an_older_version_has_limits_without_units(tmp_path: Path) -> None:
    """It is read as it was meant, from a run's folder and from a journal; a recipe of one's own needs the unit."""
    text = 'limits = ["latency_ms <= 1.3", "macs <= 2000"]\n'
    (tmp_path / "recipe.toml").write_text(text)
    for recipe in (Recipe.from_toml(text), read_recorded_recipe(tmp_path / "recipe.toml", ["execution.workers=2"])):
        assert recipe.limits == ("latency_ms <= 1.3ms", "macs <= 2000")
    with pytest.raises(RecipeError, match="needs a unit"):
        read_recipe(tmp_path / "recipe.toml")
    newer = Recipe(limits=["latency_ms <= 1300us", "macs <= 2k"])
    assert newer.differences(Recipe.from_toml(text)) == {}
    assert newer.differences(Recipe(limits=["latency_ms <= 1ms"])).keys() == {"limits"}
