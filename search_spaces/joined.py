"""Several spaces as one: the first choice is the space, and each has its own choices behind it.

So a simple model stands beside networks: measured, trained and tested like them, and on the same front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nas

if TYPE_CHECKING:  # loading torch takes longer than making a space
    from torch import nn

SPACE = "space"
"""The choice of a space."""


class Joined:
    """Spaces for the same data, joined: ``spaces`` are their names, ``options`` the options of some by name.

    A choice whose name an earlier space has is called after its space, such as ``rocket_width``. What later spaces want
    to see first is evaluated before any that a sampler proposes.

    >>> space = Joined(nas.image_signature((3, 32, 32), 10), ["mobilenet", "fbnet"])
    >>> network = space.build(nas.sample(space, np.random.default_rng(0)))

    Raises:
        ValueError: fewer than two spaces, two with one name, two with a choice of training of one name, or a space that
            lists its architectures or has a parent.
    """

    @staticmethod
    def parts_named(options: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the names of the spaces that these options join, each with its own options."""
        spaces, own = options.get("spaces", ()), options.get("options") or {}
        names = [each for each in spaces if isinstance(each, str)] if isinstance(spaces, (list, tuple)) else []
        found = {name: own.get(name) if isinstance(own, Mapping) else None for name in names}
        return [(name, each if isinstance(each, Mapping) else {}) for name, each in found.items()]

    def __init__(
        self,
        signature: nas.Signature,
        spaces: Sequence[str],
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        is_list = isinstance(spaces, list | tuple) and all(isinstance(each, str) for each in spaces)
        names = tuple(spaces) if is_list else ()
        options = {} if options is None else options
        if len(names) < 2 or len(set(names)) < len(names):
            raise ValueError(f"spaces must be a list of at least two names that differ, but got {spaces!r:.80}.")
        if not isinstance(options, Mapping) or not all(isinstance(each, Mapping) for each in options.values()):
            raise ValueError(f"options must be a table of options for each space, but got {options!r:.80}.")
        if strange := sorted(set(options) - set(names)):
            raise ValueError(f"options must be those of {', '.join(names)}, but got some of {strange[0]!r}.")
        called = [name.rpartition(":")[2] for name in names]
        if len(set(called)) < len(called):
            raise ValueError(f"spaces must have names that differ behind the colon, but got {spaces!r:.80}.")
        self._signature = signature
        # A class of one's own, such as my_module:MySpace, is called by its own name.
        self._spaces = {
            name.rpartition(":")[2]: nas.load_space(name, options.get(name, {}), signature) for name in names
        }
        self.parts = tuple(self._spaces.values())
        for name, space in self._spaces.items():
            if hasattr(space, "listing") or hasattr(space, "parent"):
                raise ValueError(f"{name} cannot be joined: it lists its architectures, or they are parts of a parent.")
        self._own_names: dict[str, dict[str, str]] = {}
        choices = [nas.Choice(SPACE, tuple(self._spaces))]
        for name, space in self._spaces.items():
            taken = {choice.name for choice in choices}
            self._own_names[name] = {_told(name, each, taken): each.name for each in space.choices}
            choices += [self._conditional(name, each) for each in space.choices]
        self.choices = tuple(choices)
        self.notes = [note for space in self._spaces.values() for note in getattr(space, "notes", ())]
        if any(hasattr(space, "inputs") for space in self._spaces.values()):
            self.inputs = self._inputs
        if any(hasattr(space, "start") for space in self._spaces.values()):
            self.start, self.origin = self._start, self._origin

    def _conditional(self, space: str, choice: nas.Choice) -> nas.Choice:
        """Return a choice of a space under its name here, active where the space is chosen."""
        told = {own: here for here, own in self._own_names[space].items()}
        when = (SPACE, (space,)) if choice.when is None else (told[choice.when[0]], choice.when[1])
        return replace(choice, name=told[choice.name], when=when)

    def _split(self, values: Mapping[str, nas.Option]) -> tuple[str, nas.Architecture]:
        """Return the name of an architecture's space, and the architecture as that space knows it."""
        name = str(values[SPACE])
        own = self._own_names[name]
        return name, nas.Architecture({own[here]: option for here, option in values.items() if here in own})

    def canonical(self, values: Mapping[str, nas.Option]) -> Mapping[str, nas.Option]:
        """Give twins one description, as the space itself does."""
        name, own = self._split(values)
        find = getattr(self._spaces[name], "canonical", None)
        if find is None:
            return values
        told = {original: here for here, original in self._own_names[name].items()}
        return {SPACE: name, **{told[each]: option for each, option in find(dict(own)).items()}}

    def build(self, architecture: nas.Architecture) -> nn.Module:
        """Return the module that the space itself builds."""
        name, own = self._split(architecture)
        return self._spaces[name].build(own)

    def layers(self, architecture: nas.Architecture) -> Sequence[nas.Layer]:
        """Return the layers that the space itself gives, or those of a trace."""
        name, own = self._split(architecture)
        return nas.layers_of(self._spaces[name], own, self._signature)

    @property
    def first(self) -> list[nas.Architecture]:
        """What the spaces want to see first, those of later ones before the first one's."""
        found = []
        for name, space in reversed(self._spaces.items()):
            told = {own: here for here, own in self._own_names[name].items()}
            for own in getattr(space, "first", ()):
                found.append(nas.Architecture({SPACE: name, **{told[each]: option for each, option in own.items()}}))
        return found

    def check_start(self) -> None:
        """Check that all spaces have the weights with which they begin. Raises RecipeError."""
        for space in self._spaces.values():
            check = getattr(space, "check_start", None)
            if check is not None:
                check()

    def _inputs(self, architecture: nas.Architecture) -> Mapping[str, Any]:
        name, own = self._split(architecture)
        return nas.wishes_of(self._spaces[name], own)

    def _start(self, architecture: nas.Architecture, module: nn.Module) -> None:
        name, own = self._split(architecture)
        load = getattr(self._spaces[name], "start", None)
        if load is not None:
            load(own, module)

    def _origin(self, architecture: nas.Architecture) -> Mapping[str, str]:
        name, own = self._split(architecture)
        find = getattr(self._spaces[name], "origin", None)
        return {} if find is None else find(own)


def _told(space: str, choice: nas.Choice, taken: set[str]) -> str:
    """Return the name of a choice here. Raises ValueError for a choice of training whose name is taken."""
    if choice.name not in taken:
        return choice.name
    if choice.is_of_training:
        raise ValueError(
            f"two of the spaces have the choice of training {choice.name!r}, which can be of one alone: leave it out "
            f"of {space}, by an option of that space."
        )
    return f"{space}_{choice.name}"
