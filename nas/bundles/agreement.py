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
SAME_VALUE = 0.01
"""Predicted values count as equal if they differ by at most this share of the spread of all values."""
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
    """

    difference: float
    equal: float
    items: int
    reference: str = "torch"
    on: str = "validation items"
    error: float | None = None
    torch_error: float | None = None

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
        """
        if precision == "fp32":
            return not self.is_exact
        _, high = wilson_interval(round(self.equal * self.items), self.items)
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
        spread = max(float(expected.max() - expected.min()), 1e-12)
        found = (np.abs(outputs - expected) <= SAME_VALUE * spread).reshape(len(outputs), -1).all(axis=1)
    return found


def _wrong(outputs: FloatArray, targets: npt.NDArray[Any]) -> float:
    return float((outputs.argmax(axis=-1) != targets).mean())
