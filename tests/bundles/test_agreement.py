"""Outputs and decisions of two forms of a model are compared, and what is lost is told."""

from __future__ import annotations

import numpy as np
import pytest

from nas.bundles.agreement import agreement_of
from nas.errors import CandidateError

CLASSES = {"kind": "classification"}
EXPECTED = np.eye(4, dtype=np.float32)[np.arange(200) % 4] * 10


def test_equal_outputs_agree() -> None:
    found = agreement_of(EXPECTED, EXPECTED, CLASSES, np.arange(200) % 4)
    assert (found.difference, found.equal, found.error, found.torch_error) == (0, 1, 0, 0)
    assert found.is_sound("fp32")
    assert found.is_sound("int8")


def test_the_difference_is_relative_to_the_largest_output() -> None:
    """10⁻⁴ is the most that fp32 may differ."""
    near, far = agreement_of(EXPECTED + 0.0009, EXPECTED, CLASSES), agreement_of(EXPECTED + 0.0011, EXPECTED, CLASSES)
    assert near.difference == pytest.approx(9e-5, rel=0.01)
    assert near.is_sound("fp32")
    assert not far.is_sound("fp32")
    assert far.is_sound("int8")
    assert "beyond the 0.0001" in far.text("fp32")


def test_what_int8_loses_is_shown() -> None:
    """Three of 200 classes differ: 98.5 %, with an interval and the errors before and after."""
    outputs = EXPECTED.copy()
    outputs[:3] = outputs[:3, ::-1]
    found = agreement_of(outputs, EXPECTED, CLASSES, np.arange(200) % 4)
    assert found.equal == 0.985
    assert not found.is_sound("int8")
    text = found.text("int8")
    assert text.startswith("98.50 % (95.7 to 99.5) of the decisions equal those of torch on 200 validation items")
    assert "fewer than the 99 % that int8 should reach" in text
    assert text.endswith("of these, which a winner has learned from too, 0.00 % are wrong in torch, 1.50 % here")


def test_decisions_depend_on_the_task() -> None:
    """Signs for several labels, each token for text, and nearly equal values for regression."""
    logits = np.array([[1.0, -1.0], [1.0, -1.0]], np.float32)
    assert agreement_of(logits * [[1, 1], [1, -1]], logits, {"kind": "multi-label"}).equal == 0.5  # type: ignore[arg-type]
    tokens = np.zeros((1, 4, 3), np.float32)
    tokens[..., 0] = 1
    changed = tokens.copy()
    changed[0, 0] = [0, 1, 0]
    assert agreement_of(changed, tokens, {"kind": "next-token"}).equal == 0.75
    values = np.linspace(0, 1, 100, dtype=np.float32)[:, None]
    moved = values.copy()
    moved[0] += 0.02
    moved[1] += 0.005
    assert agreement_of(moved, values, {"kind": "regression"}).equal == pytest.approx(0.99)


@pytest.mark.parametrize(
    ("outputs", "says"), [(np.full_like(EXPECTED, np.nan), "must be finite"), (EXPECTED[:5], "must have the shape")]
)
def test_outputs_that_are_none_are_refused(outputs: np.ndarray, says: str) -> None:
    with pytest.raises(CandidateError, match=says):
        agreement_of(outputs, EXPECTED, CLASSES)


def test_few_items_are_no_proof_of_damage() -> None:
    """The upper bound of the share of equal decisions counts: 5 of 8 may be 75 %, 110 of 200 may not."""
    for items, equal, is_damaged in ((8, 5, False), (200, 110, True), (200, 140, False)):
        outputs = EXPECTED[:items].copy()
        outputs[equal:] = outputs[equal:, ::-1]
        found = agreement_of(outputs, EXPECTED[:items], CLASSES)
        assert found.equal == equal / items
        assert found.is_damaged("int8") is is_damaged
        assert found.is_damaged("int8", 0.5) is False
    assert found.is_damaged("fp16")
    assert found.is_damaged("fp32", 0.0)


def test_values_that_are_rounded_are_not_damaged() -> None:
    """Int8 moves a value by some hundredths of the spread; a negated model moves most of them farther."""
    values = np.random.default_rng(1).normal(size=(200, 1)).astype(np.float32)
    rounded = agreement_of(values + 0.2, values, {"kind": "regression"})
    assert rounded.equal < 0.75
    assert not rounded.is_damaged("int8")
    assert agreement_of(-values, values, {"kind": "regression"}).is_damaged("int8")
    assert agreement_of(EXPECTED, EXPECTED, CLASSES).near is None
