"""Which choices matter, and how metrics change along them."""

from __future__ import annotations

import numpy as np
import pytest
from made_rows import made_run, measured, trained

from nas.reports.analysis.architecture_values import known_of
from nas.reports.analysis.choice_importance import matters_of
from nas.reports.analysis.choice_table import INACTIVE, choice_table, features_of
from nas.reports.analysis.effects import effects
from nas.reports.analysis.importance import importances
from nas.results.run import Run
from nas.space.architecture import Architecture


def architectures(count: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [
        Architecture({"width": int(rng.choice([8, 16, 32])), "op": str(rng.choice(["a", "b"])), "noise": int(each % 5)})
        for each in range(count)
    ]


def matters(run: Run) -> dict[str, object]:
    return matters_of(run, list(known_of(run.records).values()))


class TestTable:
    def test_numbers_are_sorted_by_size_and_absent_choices_have_no_option(self) -> None:
        found = choice_table(
            [Architecture({"w": 16, "k": True}), Architecture({"w": 8}), Architecture({"w": 16, "k": True})]
        )
        assert [(column.name, column.options) for column in found] == [("w", (8, 16)), ("k", (True,))]
        assert found[1].codes.tolist() == [0, INACTIVE, 0]
        assert found[0].counts.tolist() == [1, 2]
        assert (found[0].is_numeric, found[1].is_numeric) == (True, False)
        assert features_of(found).tolist() == [[1, 0], [0, 0], [1, 0]]

    def test_yes_is_not_1_and_a_text_is_no_number(self) -> None:
        """Options are sorted yes and no first, then numbers by size, then texts; 1 and 1.0 are one option."""
        (column,) = choice_table([Architecture({"a": option}) for option in (True, "1", 2, 1.0, False, 1, 1.0)])
        assert [(type(option), option) for option in column.options] == [
            (bool, False), (bool, True), (float, 1.0), (int, 2), (str, "1"),
        ]  # fmt: skip
        assert column.codes.tolist() == [1, 4, 3, 2, 0, 2, 2]

    def test_a_choice_that_is_always_the_same_has_no_column(self) -> None:
        assert choice_table([Architecture({"a": 1, "b": 1}), Architecture({"a": 1, "b": 2})])[0].name == "b"

    def test_hostile_options_are_text_on_one_line(self) -> None:
        (column,) = choice_table([Architecture({"a": "<b>\u202e"}), Architecture({"a": "z"})])
        assert column.texts == ["<b>\\u202e", "z"]


class TestImportance:
    def test_the_choice_that_decides_has_all_of_it(self) -> None:
        """Values are the width alone, so that shuffling it loses twice the variation, and the others lose nothing."""
        found = architectures(120)
        columns = choice_table(found)
        told = importances(columns, np.array([float(each["width"]) for each in found]))
        assert told is not None
        by_name = {column.name: place for place, column in enumerate(columns)}
        width, noise = by_name["width"], by_name["noise"]
        assert told.explained > 0.99
        assert 1.5 < told.values[width] < 2.5
        assert told.lower[width] > 1
        assert abs(told.values[noise]) < 0.02

    def test_a_choice_does_not_get_the_importance_of_what_rules_it_out(self) -> None:
        """The depth decides; the kernel of the second block exists only where there is one, and changes nothing."""
        rng = np.random.default_rng(0)
        found = []
        for _ in range(150):
            depth = int(rng.integers(1, 3))
            second = {"block2.kernel": int(rng.choice([3, 5]))} if depth == 2 else {}
            found.append(Architecture({"depth": depth, "width": int(rng.choice([8, 16])), **second}))
        columns = choice_table(found)
        told = importances(columns, np.array([float(each["depth"]) for each in found]))
        assert told is not None
        by_name = dict(zip([column.name for column in columns], told.values.tolist(), strict=True))
        assert by_name["depth"] > 1
        assert abs(by_name["block2.kernel"]) < 0.02

    def test_noise_explains_nothing(self) -> None:
        found = architectures(80)
        told = importances(choice_table(found), np.random.default_rng(1).normal(size=80))
        assert told is not None
        assert told.explained < 0.1

    def test_the_same_rows_give_the_same_numbers(self) -> None:
        found = architectures(40)
        values = np.array([float(each["width"]) for each in found])
        first, second = (importances(choice_table(found), values) for _ in range(2))
        assert first is not None
        assert second is not None
        assert first.values.tolist() == second.values.tolist()

    @pytest.mark.parametrize("count", [0, 1, 11])
    def test_few_architectures_tell_nothing(self, count: int) -> None:
        assert importances(choice_table(architectures(count)), np.arange(float(count))) is None

    def test_equal_values_tell_nothing(self) -> None:
        assert importances(choice_table(architectures(30)), np.ones(30)) is None


class TestEffects:
    def test_an_additive_rule_is_found_although_choices_go_together(self) -> None:
        """Width 32 comes mostly with operator b, which adds 10. With the operator equal, width adds a tenth of it."""
        rng = np.random.default_rng(0)
        width = rng.choice([8, 32], 400)
        is_b = rng.random(400) < np.where(width == 32, 0.9, 0.1)
        values = width / 10 + 10 * is_b
        found = [Architecture({"width": int(w), "op": "b" if b else "a"}) for w, b in zip(width, is_b, strict=True)]
        by_name = {each.column.name: each for each in effects(choice_table(found), values)}
        assert np.diff(by_name["width"].values)[0] == pytest.approx(2.4, abs=0.1)
        assert np.diff(by_name["op"].values)[0] == pytest.approx(10, abs=0.1)
        raw = values[width == 32].mean() - values[width == 8].mean()
        assert raw > 8

    def test_bounds_contain_the_values_and_are_wider_for_fewer(self) -> None:
        rng = np.random.default_rng(0)
        found = architectures(300)
        values = np.array([float(each["width"]) for each in found]) + rng.normal(0, 5, 300)
        many, few = effects(choice_table(found), values)[0], effects(choice_table(found[:30]), values[:30])[0]
        assert ((many.lower < many.values) & (many.values < many.upper)).all()
        assert (few.upper - few.lower).min() > (many.upper - many.lower).max()

    def test_nothing_is_told_of_few_or_equal_values(self) -> None:
        assert effects(choice_table(architectures(5)), np.arange(5.0)) == []
        assert effects(choice_table(architectures(30)), np.ones(30)) == []


def a_run(count: int = 60) -> Run:
    rows = []
    for each in architectures(count):
        width = float(each["width"])
        rows += [trained(each, 1 / width, params=width**2), measured(each, latency_ms=width / 100)]
    return made_run(rows)


def test_a_run_names_the_choice_that_matters_most() -> None:
    found = matters(a_run())
    metrics = {each["name"]: each for each in found["metrics"]}  # type: ignore[attr-defined]
    assert set(metrics) == {"error", "latency_ms", "params"}
    latency = metrics["latency_ms"]
    assert latency["reliable"]
    assert latency["importances"][0]["choice"] == "width"
    assert "width" in latency["sentences"][0]
    along = latency["effects"]["width"]
    assert along["options"] == ["8", "16", "32"]
    assert along["value"] == pytest.approx([0.08, 0.16, 0.32], rel=0.02)


def test_predicted_values_do_not_count() -> None:
    rows = [trained(each, 0.1, predicted={"latency_ms": 1.0}) for each in architectures(60)]
    assert [each["name"] for each in matters(made_run(rows))["metrics"]] == ["error"]  # type: ignore[attr-defined]


def test_a_small_run_says_what_it_lacks() -> None:
    assert matters(made_run([]))["sentences"] == [
        "The report ranks choices if at least 12 architectures have a value of a metric, but none has one."
    ]
    found = matters(a_run(11))
    assert found["metrics"] == []
    assert found["sentences"][0].endswith("but only 11 have one.")  # type: ignore[index]


def test_architectures_without_a_value_are_not_counted() -> None:
    """Of forty, all of them stopped early and predicted, none has a value."""
    stopped = {"stopped_early": True}
    rows = [trained(each, 0.1, predicted={"latency_ms": 1.0}, details=stopped) for each in architectures(40)]
    assert matters(made_run(rows))["sentences"][0].endswith("but none has one.")  # type: ignore[index]
    rows.append(trained(rows[0].architecture, 0.1))
    assert matters(made_run(rows))["sentences"][0].endswith("but 1 has one.")  # type: ignore[index]
