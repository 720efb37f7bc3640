"""Choices refuse options that cannot be searched; architectures are values with a stable id."""

from __future__ import annotations

import enum
import json
import math
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nas.space.architecture import Architecture, Choice

options = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
assignments = st.dictionaries(st.text(min_size=1), options)


@pytest.mark.parametrize(
    ("name", "given_options", "message"),
    [
        ("", (1, 2), "a choice must have a name"),
        ("  ", (1, 2), "a choice must have a name"),
        (3, (1, 2), "a choice must have a name, which is a text on one line, but got 3"),
        ("a\nb", (1, 2), "a choice must have a name"),
        ("\udcff", (1, 2), "a choice must have a name"),
        ("depth", (), "'depth' must have 1 to 1,000 options, but got 0"),
        ("depth", range(10**6), "'depth' must have 1 to 1,000 options, but got 1,000,000"),
        ("depth", (1, None), "must be bool, int, float or str, but got None"),
        ("depth", ([1], [2]), "must be bool, int, float or str"),
        ("depth", (b"x", b"y"), "must be bool, int, float or str"),
        ("depth", (1j, np.complex64(1)), "must be bool, int, float or str"),
        ("depth", (1, 2, 1), "options of choice 'depth' must differ, but 1 comes more than once"),
        ("depth", (1, True), "must differ"),
        ("depth", (np.int8(1), 1), "must differ"),
        ("depth", (1.0, math.nan), "must be finite numbers, but got nan"),
        ("depth", (np.float32("inf"), 1), "must be finite numbers, but got inf"),
        ("depth", (1, 2**63), "must be numbers of 64 bits, but got 9223372036854775808"),
        ("depth", (1, 10**5000), "must be numbers of 64 bits"),
        ("kind", ("\udcff", "b"), "must be texts on one line"),
        ("kind", ("b\nc", "d"), "must be texts on one line"),
        ("kind", "fused", "options of choice 'kind' must be a tuple, but got 'fused'"),
        ("kind", {"fused"}, "options of choice 'kind' must be a tuple, but got {'fused'}"),
        ("kind", 3, "options of choice 'kind' must be a tuple, but got 3"),
    ],
)
def test_a_choice_refuses_invalid_options(name: str, given_options: object, message: str) -> None:
    """The error says the rule and then the value; 1 and True count as duplicates, because they are equal keys."""
    with pytest.raises(ValueError, match=message):
        Choice(name, given_options)  # type: ignore[arg-type]


def test_options_of_numpy_and_of_enumerations_become_plain_ones() -> None:
    """Otherwise no journal could hold them; integers of numpy are taken as well as floats."""

    class Width(enum.IntEnum):
        NARROW = 8

    class Kind(enum.StrEnum):
        FUSED = "fused"

    for given_options in (np.arange(3), (np.int64(0), np.uint8(1), 2)):
        found = Choice("depth", given_options).options  # type: ignore[arg-type]
        assert found == (0, 1, 2)
        assert {type(option) for option in found} == {int}
    mixed = Choice("depth", (np.float32(0.5), np.bool_(True), np.str_("x"), Width.NARROW, Kind.FUSED))
    assert [(type(option), option) for option in mixed.options] == [
        (float, 0.5),
        (bool, True),
        (str, "x"),
        (int, 8),
        (str, "fused"),
    ]
    condition = Choice("kernel", (3, 5), when=("depth", (np.int64(1),)))  # type: ignore[arg-type]
    assert condition.when == ("depth", (1,))
    assert type(condition.when[1][0]) is int


def test_lists_are_taken_for_tuples() -> None:
    """Options in a list are converted to a tuple, also in a condition."""
    choice = Choice("kernel", [3, 5], when=("depth", [1, 2]))  # type: ignore[arg-type]
    assert choice == Choice("kernel", (3, 5), when=("depth", (1, 2)))
    assert hash(choice) == hash(Choice("kernel", (3, 5), when=("depth", (1, 2))))
    with pytest.raises(
        ValueError, match=r"a tuple of its options, such as \('depth', \(1, 2\)\), but got \('depth', 2\)"
    ):
        Choice("kernel", (3, 5), when=("depth", 2))  # type: ignore[arg-type]


def test_numbers_have_an_order_and_words_have_none() -> None:
    """A choice is numeric only if every option is a number."""
    assert Choice("depth", (1, 2.5)).is_numeric
    assert not Choice("kernel", (3, "5x1")).is_numeric


@given(assignments)
def test_the_id_depends_on_the_values_and_not_on_their_order(values: dict[str, bool | float | str]) -> None:
    """The same values in any order are one architecture, also as a key of a dictionary."""
    one, other = Architecture(values), Architecture(dict(reversed(values.items())))
    assert one == other
    assert len({one, other}) == 1
    assert len(one.id) == 12
    int(one.id, 16)


@given(assignments)
def test_an_architecture_survives_json(values: dict[str, bool | float | str]) -> None:
    """An architecture that is written as JSON and read back is equal to the original."""
    assert Architecture(json.loads(json.dumps(dict(Architecture(values))))) == Architecture(values)


@given(assignments, st.text(min_size=1), options, options)
def test_another_value_is_another_architecture(
    values: dict[str, bool | float | str], name: str, one: bool | float | str, other: bool | float | str
) -> None:
    """Values with different JSON text never share an id, not even 1, 1.0 and "1"."""
    first, second = Architecture({**values, name: one}), Architecture({**values, name: other})
    assert (first.id == second.id) == (repr(one) == repr(other))


def test_the_id_is_the_same_in_another_process() -> None:
    """The id does not depend on Python's random hash seed."""
    code = "from nas.space.architecture import Architecture; print(Architecture({'b': 'x', 'a': True, 'é': 0.5}).id)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert told == Architecture({"a": True, "é": 0.5, "b": "x"}).id


def test_an_architecture_cannot_be_changed() -> None:
    """Assignment fails, and changes of the original mapping have no effect."""
    values = {"depth": 1}
    architecture = Architecture(values)
    values["depth"] = 2
    assert dict(architecture) == {"depth": 1}
    with pytest.raises(TypeError, match="does not support item assignment"):
        architecture.values_by_choice["depth"] = 3  # type: ignore[index]
    with pytest.raises(AttributeError):
        architecture.values_by_choice = {}  # type: ignore[misc]


def test_equal_names_are_kept_once() -> None:
    """A hundred thousand architectures take a third of the memory that dictionaries would."""
    tracemalloc.start()
    made = [Architecture({f"choice{place}": place for place in range(26)}) for _ in range(1000)]
    kept = tracemalloc.get_traced_memory()[0] / len(made)
    tracemalloc.stop()
    assert kept < 0.6 * sys.getsizeof(dict(made[0]))


def test_people_read_one_line() -> None:
    """Booleans are shown as words, and the representation begins with the id."""
    architecture = Architecture({"depth": 2, "residual": True, "act": "relu", "drop": False})
    assert architecture.short == "depth=2 residual=yes act=relu drop=no"
    assert repr(architecture) == f"Architecture({architecture.id}: {architecture.short})"
