"""The result of verifying a bundle: each check with its state, and the measurements that moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

from nas.bundles.changes import Moved

State = Literal["sound", "failed", "unchecked"]
MARKS = {"sound": "ok", "failed": "FAILED", "unchecked": "not checked"}
FILES, MEASURED_AGAIN = "files", "measuring again"
"""Checks in which no output of a model is looked at."""


@dataclass(frozen=True)
class Check:
    """One check of a bundle: what was checked, if it is sound, and a sentence about it."""

    what: str
    state: State
    text: str


@final
@dataclass(frozen=True, repr=False)
class VerifiedBundle:
    """What was found of a bundle.

    Attributes:
        folder: the bundle.
        checks: each check with its state; ``unchecked`` ones say why.
        moved: by metric, the measurement in the bundle and the new one; empty if nothing was measured.
        circumstances: what is another than when the bundle was measured, such as the processor.

    Example::

        verified = nas.verify_bundle("runs/digits/winners/0123456789ab")
        assert verified.is_sound, verified
    """

    folder: Path
    checks: tuple[Check, ...]
    moved: Mapping[str, Moved] = field(default_factory=dict)
    circumstances: tuple[str, ...] = ()

    @property
    def has_failed(self) -> bool:
        """True if a check failed."""
        return any(check.state == "failed" for check in self.checks)

    @property
    def is_sound(self) -> bool:
        """True if no check failed, and a model's outputs could be checked. Other checks may have been impossible."""
        checked = [check.what for check in self.checks if check.state == "sound"]
        return not self.has_failed and not all(what.startswith((FILES, MEASURED_AGAIN)) for what in checked)

    @property
    def is_complete(self) -> bool:
        """True if every check was possible."""
        return all(check.state != "unchecked" for check in self.checks)

    def __repr__(self) -> str:
        lines = [str(self.folder)]
        lines += [f"  {MARKS[check.state]:<12}{check.what}: {check.text}" for check in self.checks]
        lines += [f"  {'moved' if each.is_sure else 'as before':<12}{each.text}" for each in self.moved.values()]
        lines += [f"  since then, {text}" for text in self.circumstances]
        return "\n".join([*lines, self._ending])

    @property
    def _ending(self) -> str:
        if self.has_failed:
            return "The bundle is not sound."
        if not self.is_sound:
            return "No model of the bundle could be checked here, so nobody knows if it is sound."
        return f"The bundle is sound{'' if self.is_complete else ', as far as it can be checked here'}."

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "bundle": str(self.folder),
            "sound": self.is_sound,
            "complete": self.is_complete,
            "checks": [vars(check) for check in self.checks],
            "measured": {name: each.to_json() for name, each in self.moved.items()},
            "circumstances": list(self.circumstances),
        }
