"""How far a model in one form agrees with its torch module on the same inputs: by outputs, and by decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import CandidateError
from nas.values.comparison import wilson_interval

TOLERANCE = 1e-4
"""The largest difference of an output in fp32, relative to the largest output. Kernels sum in different orders."""
LEAST_EQUAL = 0.99
"""The share of equal decisions below which a lower precision is told to change the model."""
LEAST_AGREEMENT = {"fp16": 0.95, "bf16": 0.9, "int8": 0.75}
"""By precision, the share of equal decisions below which a model is taken for damaged, unless the user knows better."""
DECISIONS = ("classification", "next-token", "multi-label")
"""Kinds of answers in which outputs decide; others are values."""
SAME_VALUE = 0.01
"""Predicted values count as equal if they differ by at most this share of the spread of all values."""
NEAR_VALUE = 0.1
"""Values that rounding alone moved differ by at most this share of the spread. Int8 of a small regressor on 70 rows of
diabetes had 73 % of its values within 1 % of the spread."""
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Agreement:
    """The agreement of a form with torch on some items.

    Attributes:
        difference: the largest difference of an output, relative to torch's largest output.
        equal: the share of items with the same decision, such as the same class.
        items: the number of items.
        reference: what was compared with: ``torch``, or ``model.onnx`` where torch's outputs are not known.
        on: the kind of inputs: real items, or random numbers.
        error: the share of wrong classes among these items; None where there are no classes or targets. Winners are
            retrained on validation items too, so it tells what a form loses, and not how good a model is.
        torch_error: the same of torch's outputs.
        near: of predicted values, the share within ``NEAR_VALUE`` of the spread; None where there are decisions.
    """

    difference: float
    equal: float
    items: int
    reference: str = "torch"
    on: str = "validation items"
    error: float | None = None
    torch_error: float | None = None
    near: float | None = None

    @property
    def is_exact(self) -> bool:
        """True if outputs are within ``TOLERANCE``, as those of fp32 must be."""
        return self.difference <= TOLERANCE

    @property
    def decides_alike(self) -> bool:
        """True if at least ``LEAST_EQUAL`` of the decisions are equal, as those of lower precisions should be."""
        return self.equal >= LEAST_EQUAL

    def is_sound(self, precision: str) -> bool:
        """Return True if a form in this precision agrees as it should."""
        return self.is_exact if precision == "fp32" else self.decides_alike

    def is_damaged(self, precision: str, least: float | None = None) -> bool:
        """Return True if outputs differ in fp32, or if surely less than ``least`` of other decisions are equal.

        Few items tell little, so the upper bound of the share counts. By default ``least`` depends on the precision.
        Of predicted values, those count that are ``near``.
        """
        if precision == "fp32":
            return not self.is_exact
        share = self.equal if self.near is None else self.near
        _, high = wilson_interval(round(share * self.items), self.items)
        return high < (LEAST_AGREEMENT.get(precision, min(LEAST_AGREEMENT.values())) if least is None else least)

    def text(self, precision: str) -> str:
        """Return the agreement as a sentence, with what is lost."""
        low, high = wilson_interval(round(self.equal * self.items), self.items)
        where = f"on {self.items} {self.on}"
        if precision == "fp32":
            sign = "within" if self.is_exact else "beyond"
            return (
                f"outputs differ from those of {self.reference} by {self.difference:.2g} at most, {sign} the "
                f"{TOLERANCE:g} that fp32 may, {where}"
            )
        lost = ""
        if self.error is not None and self.torch_error is not None:
            lost = (
                f"; of these, which a winner has learned from too, {100 * self.torch_error:.2f} % are wrong in "
                f"{self.reference}, {100 * self.error:.2f} % here"
            )
        few = "" if self.decides_alike else f", fewer than the {100 * LEAST_EQUAL:g} % that {precision} should reach"
        return (
            f"{100 * self.equal:.2f} % ({100 * low:.1f} to {100 * high:.1f}) of the decisions equal those of "
            f"{self.reference} {where}{few}{lost}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def agreement_of(
    outputs: FloatArray,
    expected: FloatArray,
    answers: Mapping[str, Any],
    targets: npt.NDArray[Any] | None = None,
    reference: str = "torch",
    on: str = "validation items",
) -> Agreement:
    """Compare outputs, shape (N, …), with those expected. ``answers`` says how outputs become answers.

    Raises:
        CandidateError: of kind parity; shapes differ, or an output is not finite.
    """
    if outputs.shape != expected.shape:
        raise CandidateError("parity", f"outputs must have the shape {expected.shape}, but have {outputs.shape}.")
    if not np.isfinite(outputs).all():
        raise CandidateError("parity", "outputs of a form must be finite, but some are not.")
    largest = max(float(np.abs(expected).max()), 1e-12)
    errors: tuple[float | None, float | None] = (None, None)
    if answers["kind"] == "classification" and targets is not None and len(targets) == len(outputs):
        errors = _wrong(outputs, targets), _wrong(expected, targets)
    return Agreement(
        difference=float(np.abs(outputs.astype(np.float64) - expected).max()) / largest,
        equal=float(_equal(outputs, expected, str(answers["kind"])).mean()),
        near=None if str(answers["kind"]) in DECISIONS else float(_within(outputs, expected, NEAR_VALUE).mean()),
        items=len(outputs),
        reference=reference,
        on=on,
        error=errors[0],
        torch_error=errors[1],
    )


def _equal(outputs: FloatArray, expected: FloatArray, kind: str) -> npt.NDArray[np.bool_]:
    """Return a mask, shape (N, …), of the equal decisions. Of text, each token is one."""
    found: npt.NDArray[np.bool_]
    if kind in ("classification", "next-token"):
        found = outputs.argmax(axis=-1) == expected.argmax(axis=-1)
    elif kind == "multi-label":
        found = ((outputs > 0) == (expected > 0)).reshape(len(outputs), -1).all(axis=1)
    else:
        found = _within(outputs, expected, SAME_VALUE)
    return found


def _within(outputs: FloatArray, expected: FloatArray, share: float) -> npt.NDArray[np.bool_]:
    """Return a mask, shape (N,), of the items whose values all differ by at most a share of the spread of all."""
    spread = max(float(expected.max() - expected.min()), 1e-12)
    found: npt.NDArray[np.bool_] = (np.abs(outputs - expected) <= share * spread).reshape(len(outputs), -1).all(axis=1)
    return found


def _wrong(outputs: FloatArray, targets: npt.NDArray[Any]) -> float:
    return float((outputs.argmax(axis=-1) != targets).mean())
