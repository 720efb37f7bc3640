"""Choices that a space's code never reads are told before anything is trained."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas.space.architecture import Architecture, Choice
from nas.space.first_look import load_space_apart
from nas.space.signature import image_signature
from nas.space.unread import Watched, unread_choices


class Built:
    """A space whose ``build`` hands the architecture to a function."""

    choices = (
        Choice("width", (4, 8)),
        Choice("kind", ("a", "b")),
        Choice("rate", (0.1, 0.2), affects="training"),
    )

    def __init__(self, use: Callable[[Architecture], Any]) -> None:
        self._use = use

    def build(self, architecture: Architecture) -> nn.Module:
        self._use(architecture)
        return nn.Linear(1, 1)


@pytest.mark.parametrize(
    ("use", "unread"),
    [
        (lambda a: a["width"], ["kind"]),
        (lambda a: None, ["width", "kind"]),
        (lambda a: (a["width"], a.get("kind")), []),
        (lambda a: (a["width"], "kind" in a), []),
        (lambda a: dict(a), []),
        (lambda a: [*a.values()], []),
        (lambda a: a.values_by_choice["width"], ["kind"]),
        (lambda a: [*a.values_by_choice.values()], []),
        (lambda a: a.id, []),
        (lambda a: a.short, []),
        (lambda a: a["kind"] if a["width"] == 8 else None, []),
    ],
)
def test_what_build_never_reads_is_found(use: Callable[[Architecture], Any], unread: list[str]) -> None:
    """Choices of training are not for ``build``; whoever goes through all choices may use them all."""
    assert unread_choices(Built(use)) == unread


def test_inputs_read_choices_too() -> None:
    """A resolution changes no layer."""

    class WithInputs(Built):
        def inputs(self, architecture: Architecture) -> Mapping[str, Any]:
            return {"image_size": architecture["kind"]}

    assert unread_choices(WithInputs(lambda a: a["width"])) == []


def test_weights_to_begin_with_may_depend_on_choices() -> None:
    """What ``start`` reads is not known before something is trained."""

    class WithStart(Built):
        def start(self, architecture: Architecture, module: torch.nn.Module) -> None: ...

    assert unread_choices(WithStart(lambda a: a["width"])) == []


def test_canonical_makes_one_network_of_choices_that_are_not_read() -> None:
    """Then nothing is trained twice, and nothing needs a warning."""

    class Canonical(Built):
        def canonical(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
            return {**values, "kind": "a"}

    assert unread_choices(Canonical(lambda a: a["width"])) == []


def test_builds_that_fail_tell_nothing() -> None:
    def fail(architecture: Architecture) -> None:
        raise RuntimeError("no")

    assert unread_choices(Built(fail)) == []


def test_a_watched_architecture_is_the_same_one() -> None:
    architecture = Architecture({"width": 4, "kind": "a"})
    watched = Watched.of(architecture, set())
    assert watched == architecture
    assert hash(watched) == hash(architecture)
    assert watched.short == architecture.short


@pytest.mark.slow
def test_it_is_said_where_a_space_first_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is trained, with the name of the choice and what to do."""
    (tmp_path / "forgetful.py").write_text(
        textwrap.dedent(
            """
            import nas
            import torch


            class Forgetful:
                choices = (nas.Choice("width", (4, 8)), nas.Choice("activation", ("relu", "gelu")))

                def build(self, architecture):
                    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    told: list[str] = []
    _, look = load_space_apart("forgetful:Forgetful", {}, image_signature((1, 8, 8), 10), say=told.append)
    look.close()
    (warning,) = told
    assert warning.startswith("warning: build never reads the choices 'width', 'activation', so networks that differ")
    assert warning.endswith("leave them out, or map the options to one with canonical.")
