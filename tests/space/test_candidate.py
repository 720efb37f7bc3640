"""Candidates: architectures that know what devices see of them, what is trained, and their precision."""

from __future__ import annotations

import pickle

from nas.space.architecture import Architecture, Choice
from nas.space.parts.candidate import SpaceParts, by_training, precision_of
from nas.space.parts.device_parts import with_precisions, with_training


class Widths:
    """A space that is never built, with a choice of training that depends on the network."""

    choices = (
        Choice("width", (4, 8)),
        Choice("momentum", (0.7, 0.8, 0.9), when=("width", (8,)), affects="training"),
    )

    def build(self, architecture: Architecture) -> None:
        raise NotImplementedError


SEARCHED = with_precisions(with_training(Widths(), {"epochs": (1, 2)}), ("fp32", "int8"))  # type: ignore[arg-type]
PARTS = SpaceParts(SEARCHED)
WHOLE = Architecture({"width": 8, "momentum": 0.9, "epochs": 2, "precision": "int8"})


def test_a_candidate_tells_its_parts() -> None:
    """Devices see the network and the precision; the network and its training are trained."""
    found = PARTS.candidate(WHOLE)
    assert found.on_device == Architecture({"width": 8, "precision": "int8"})
    assert found.trained == Architecture({"width": 8, "momentum": 0.9, "epochs": 2})
    assert (found.precision, found.in_fp32) == ("int8", PARTS.candidate({**WHOLE, "precision": "fp32"}))
    assert found.siblings == [found.in_fp32, found]
    assert list(by_training(found.siblings)) == [found.trained]


def test_a_candidate_is_its_architecture() -> None:
    """It takes the architecture's place as a key; another process gets the architecture alone."""
    found = PARTS.candidate(WHOLE)
    assert ({WHOLE: 1}[found], {found: 1}[WHOLE], found.id) == (1, 1, WHOLE.id)
    assert type(pickle.loads(pickle.dumps(found))) is Architecture


def test_a_part_is_completed() -> None:
    """Choices of training take their middle option as far as they are active, and the precision its first one."""
    assert dict(PARTS.candidate({"width": 8})) == {"width": 8, "momentum": 0.8, "epochs": 1, "precision": "fp32"}
    assert dict(PARTS.candidate({"width": 4})) == {"width": 4, "epochs": 1, "precision": "fp32"}
    assert PARTS.candidate(PARTS.candidate(WHOLE).on_device).on_device == PARTS.candidate(WHOLE).on_device


def test_one_candidate_for_each_that_devices_can_tell_apart() -> None:
    """The first of each counts, however it is trained."""
    others = [WHOLE, PARTS.candidate({**WHOLE, "epochs": 1}), PARTS.candidate({**WHOLE, "precision": "fp32"})]
    assert PARTS.one_each(others) == [WHOLE, others[2]]


def test_a_choice_of_the_network_is_no_precision() -> None:
    """A space may call a choice of its own so: then an architecture names one, but has no siblings."""

    class Own(Widths):
        choices = (Choice("precision", ("low", "high")),)  # type: ignore[assignment]

    found = SpaceParts(Own()).candidate({"precision": "low"})  # type: ignore[arg-type]
    assert (found.precision, found.siblings, found.trained, found.in_fp32) == (None, [found], found, None)
    assert precision_of(found) == "low"
