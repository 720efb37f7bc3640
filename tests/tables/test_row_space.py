"""The rows of a table as a search space: choices, features, and clear words for tables that are unfit."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from model_rows import CHOICES, Row, model_rows, with_cell, write_models

import nas
from nas.errors import RecipeError, SpaceError
from nas.space.description import Describer
from nas.tables.row_space import RowSpace
from nas.tables.table import read_table
from nas.tables.table_prior import TablePrior


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The made-up table of models."""
    return write_models(tmp_path / "models.csv")


def test_choices_are_texts_or_ascending_numbers(models: Path) -> None:
    """Whole numbers are whole, and the rows are the architectures."""
    space = RowSpace(models, CHOICES, ["mflops"])
    assert [(choice.name, choice.options) for choice in space.choices] == [
        ("family", ("alpha", "beta", "gamma")),
        ("width", (0.25, 0.5, 1.0)),
        ("resolution", (96, 128, 160, 192)),
    ]
    assert nas.count(space) == len(model_rows()) == 32
    assert dict(space.listing.architectures[0]) == {"family": "alpha", "width": 0.25, "resolution": 96}
    assert space.notes == []
    table = read_table(models, space)
    assert table.architectures == space.listing.architectures
    assert table.column("val_acc")[3] == model_rows()[3]["val_acc"]


def test_numbers_are_described_in_the_place_of_layers(models: Path) -> None:
    """Choices that are numbers count as numbers too; positive ones as logarithms."""
    space = RowSpace(models, CHOICES, ["mflops"])
    described = Describer(space, space.layers).describe(space.listing.architectures)
    assert space.number_names == ("width", "resolution", "mflops")
    np.testing.assert_allclose(described.numbers[0], [0.25, 96, model_rows()[0]["mflops"]])  # type: ignore[arg-type]
    np.testing.assert_allclose(described.log_numbers, np.log(described.numbers))
    assert described.take(np.array([2])).numbers.tolist() == [described.numbers[2].tolist()]
    assert described.layer_sums.size == 0


@pytest.mark.parametrize("row", range(4))
def test_a_number_without_a_logarithm_is_never_missed(row: int, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only a few rows of many show how numbers vary."""
    monkeypatch.setattr("nas.space.description.LISTED_POPULATION", 3)
    space = RowSpace(write_models(models, with_cell(row, {"mflops": 0})), CHOICES, ["mflops"])
    described = Describer(space, space.layers).describe(space.listing.architectures)
    assert np.isfinite(described.log_numbers).all()
    assert described.log_numbers[row, 2] == 0


def test_processes_get_the_space_without_its_texts(models: Path) -> None:
    """Workers of another folder need no file."""
    space = RowSpace(models, ["name"])
    copied = pickle.loads(pickle.dumps(space))
    models.unlink()
    assert copied.listing.architectures == space.listing.architectures


def test_the_registered_space_is_this_one(models: Path) -> None:
    """``--space table`` names it."""
    space = nas.load_space("table", {"table": str(models), "choices": list(CHOICES)}, input_shape=(3, 8, 8), classes=2)
    assert isinstance(space, RowSpace)
    with pytest.raises(SpaceError, match=r"is looked up, and cannot be built.*evaluate = \"table\""):
        space.build(space.listing.architectures[0])


def test_constant_columns_are_left_out_and_told(models: Path) -> None:
    """They tell no rows apart."""
    space = RowSpace(models, [*CHOICES, "licence"])
    assert [choice.name for choice in space.choices] == list(CHOICES)
    assert space.notes == [f"the choice 'licence' is left out: it is 'free' in every row of {models}."]
    flat = write_models(models, lambda rows: [row | {"mflops": 7} for row in rows])
    space = RowSpace(flat, CHOICES, ["mflops"])
    assert space.number_names == ("width", "resolution")
    assert space.notes == [f"the feature 'mflops' is left out: it is 7 in every row of {models}."]


def test_a_text_among_numbers_is_told(models: Path) -> None:
    """It makes a choice of texts of them, which is seldom meant: a missing value may be written as one."""
    space = RowSpace(write_models(models, with_cell(6, {"resolution": "nan"})), CHOICES)
    assert space.choices[2].options == ("128", "160", "192", "96", "nan")
    (note,) = space.notes
    assert note == (
        f"the choice 'resolution' counts as texts, which have no order: most of its values are numbers, but row 7 of "
        f"{models} has 'nan'."
    )


def test_rows_with_the_same_choices_are_one_and_told(models: Path) -> None:
    """The message names a column that would tell them apart."""
    space = RowSpace(models, ["family", "resolution"])
    assert len(space.listing) == 12
    (note,) = space.notes
    assert note == (
        f"20 of 32 rows of {models} have the choices of an earlier row, such as rows 1 and 5: the first of each is "
        "used. With 'name' among the choices, each row is one."
    )
    assert RowSpace(models, ["name"]).notes == []


def test_a_table_with_other_texts_is_another_table(models: Path, tmp_path: Path) -> None:
    """A text that the space does not have is told with the nearest one."""
    other = write_models(tmp_path / "other.csv", with_cell(4, {"family": "alpa"}))
    with pytest.raises(RecipeError, match=r"column 'family' .* row 5 has 'alpa'. Did you mean 'alpha'"):
        read_table(other, RowSpace(models, CHOICES))


def _without(name: str) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [{key: value for key, value in row.items() if key != name} for row in rows]


@pytest.mark.parametrize(
    ("choices", "features", "change", "message"),
    [
        (["famly"], [], None, r"choices must be columns of .*, but it has none named 'famly'. Did you mean 'family'"),
        (["family, width"], [], None, r"named 'family, width'. Write \[\"family\", \"width\"\] for these columns"),
        (["family"], ["mflop"], None, r"features must be columns .* none named 'mflop'. Did you mean 'mflops'"),
        ([], [], None, r"needs columns of choices, such as choices=\[\"family\", \"resolution\"\], but got none"),
        (["family", "family"], [], None, r"has one use, but 'family' is twice in choices. Leave one out"),
        (["width"], ["width"], None, r"'width' is in choices and in features. Leave one out"),
        (["family"], ["name"], None, r"a feature must be a number in every row, but row 1 .* has 'alpha_w25_96'"),
        (["licence"], [], None, r"a choice must have different values in .*, but licence is constant"),
        (["family"], [], {"family": ""}, r"a choice must be known .* but column 'family' .* empty in row 3\."),
        (["family"], ["mflops"], {"mflops": " "}, r"a feature must be known of every row, but column 'mflops'"),
        (["family"], ["mflops"], {"mflops": "many"}, r"but row 3 of .* has 'many' in column 'mflops'"),
        (["family"], [], {"family": "a\tb"}, r"column 'family' .* cannot be a choice: .* must be texts on one line"),
        (7, [], None, r"choices are a list of columns, such as .*, but got 7"),
    ],
)  # fmt: skip
def test_unfit_columns_are_refused(
    choices: list[str], features: list[str], change: Row | None, message: str, tmp_path: Path
) -> None:
    """The message says the rule, the value and what to do."""
    path = write_models(tmp_path / "models.csv", with_cell(2, change or {}))
    with pytest.raises(RecipeError, match=message):
        RowSpace(path, choices, features)


def test_too_many_different_numbers_are_no_choice(tmp_path: Path) -> None:
    """Each would be an option."""
    rows = [{"side": n / 7, "kind": n % 2} for n in range(1001)]
    path = write_models(tmp_path / "many.csv", lambda _: rows)
    with pytest.raises(RecipeError, match=r"at most 1,000 different numbers, but column 'side' .* 1,001. Take it as a"):
        RowSpace(path, ["side"])
    assert RowSpace(path, ["kind"], ["side"]).number_names == ("kind", "side")


class TestPrior:
    def test_gives_the_values_of_rows(self, models: Path) -> None:
        """A row without a value, or that the table lacks, has none."""
        path = write_models(models, with_cell(1, {"other_acc": ""}))
        space = RowSpace(path, CHOICES)
        prior = TablePrior(read_table(path, space), ["other_acc", "mflops"])
        first, second = space.listing.architectures[:2]
        found = prior([first, second, nas.Architecture({"family": "new"})])
        assert found[0].tolist() == [model_rows()[0]["other_acc"], model_rows()[0]["mflops"]]
        assert np.isnan(found[1, 0])
        assert np.isnan(found[2]).all()
        assert prior.doubts == [f"1 of 32 rows of {path} have no other_acc, so nothing is expected of them."]

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("other_acc", 3, r"a prior must tell rows apart, but column 'other_acc' .* is 3 in every row"),
            ("other_acc", "", r"a prior must tell rows apart, but column 'other_acc' .* is empty"),
            ("name", "x", r"column 'name' .* must hold numbers, but row 1 holds 'x'"),
        ],
    )
    def test_must_tell_rows_apart(self, name: str, value: object, message: str, models: Path) -> None:
        """A constant column, or one of texts, ranks nothing."""
        path = write_models(models, lambda rows: [row | {name: value} for row in rows])
        with pytest.raises(RecipeError, match=message):
            TablePrior(read_table(path, RowSpace(path, CHOICES)), [name])
