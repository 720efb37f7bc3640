"""Search spaces as data, with operators for all of them: sampling, mutation, crossover, neighbours and counting."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from nas.errors import NasError, RecipeError, SpaceError, raised_text
from nas.space.architecture import Architecture, Choice, Option
from nas.space.layer import Layer
from nas.space.listing import HasListing
from nas.space.own_code import own_code
from nas.space.plug_ins import check_options, is_needed, load_plug_in, parameters_of
from nas.space.rules import GROUP, check_accepts, check_space, check_space_class
from nas.space.signature import Signature, image_signature

if TYPE_CHECKING:
    import torch

Picked = TypeVar("Picked")

SMALL_SPACE = 1000
"""The most architectures of a space that is enumerated as a matter of course, which takes some milliseconds."""
MOST_ASSIGNMENTS = 20_000
"""A space with more assignments counts as large, even if ``canonical`` makes few networks of them."""


class SearchSpace(Protocol):
    """The protocol of a search space: its choices, and the torch module of one architecture.

    Five further methods are optional. ``layers`` (see ``HasLayers``) gives the layers, which are traced otherwise.
    ``canonical`` (see ``HasCanonical``) gives duplicate networks one description. ``supernet`` (see ``HasSupernet``)
    gives weights that all architectures share. ``inputs`` (see ``nas.space.parts.own_inputs``) gives an architecture
    inputs of its own, and ``start`` (see ``nas.space.parts.start_weights``) the weights from which training begins.
    """

    @property
    def choices(self) -> Sequence[Choice]:
        """The decisions; a conditional choice comes after the choice that it depends on."""
        ...

    def build(self, architecture: Architecture) -> torch.nn.Module:
        """Return a module that maps inputs to one output, as the data's ``Signature`` says.

        For images: float32 of shape (N, channels, height, width) to logits of shape (N, classes)."""
        ...


@runtime_checkable
class HasLayers(Protocol):
    """A space that knows the layers of an architecture without building a module."""

    def layers(self, architecture: Architecture) -> Sequence[Layer]:
        """Return the layers in the order in which they run."""
        ...


@runtime_checkable
class HasCanonical(Protocol):
    """A space in which different choices can give the same network."""

    def canonical(self, values: Mapping[str, Option]) -> Mapping[str, Option]:
        """Map all assignments that give the same network to one of them."""
        ...


class Supernet(Protocol):
    """A torch module whose parameters all architectures of a space share.

    A candidate is always the ordinary module that ``build`` returns, run with weights from the supernet.
    """

    def weights(self, architecture: Architecture) -> Mapping[str, torch.Tensor]:
        """Return the parameters of ``build(architecture)`` by name, as functions of the shared ones, such as slices.

        Gradients flow through them into the shared parameters. In a space whose architectures have a parent, a
        supernet has a second method, ``inherit(inheritance)``, which lets it begin with the parent's weights.
        """
        ...


@runtime_checkable
class HasSupernet(Protocol):
    """A space whose architectures can share weights.

    Options that are numbers must be in ascending order. Other options have no order.
    """

    def supernet(self) -> Supernet:
        """Return a torch module that is a ``Supernet``, with weights drawn from torch's global random state."""
        ...


def ends(space: SearchSpace, rng: np.random.Generator | None = None) -> tuple[Architecture, Architecture]:
    """Return the architectures of all first and of all last options: the smallest and the largest if options ascend.

    With ``rng``, choices whose options are not numbers take a random option, drawn separately for each architecture.
    """

    def end(place: int) -> Architecture:
        def option(choice: Choice) -> Option:
            if rng is None or choice.is_numeric:
                return choice.options[place]
            return choice.options[int(rng.integers(len(choice.options)))]

        return settle(space, option)

    return end(0), end(-1)


def with_options(space: SearchSpace, architecture: Architecture, options: Mapping[str, Option]) -> Architecture:
    """Return an architecture with some options in the place of its own; choices that become active take their first."""
    if not options:
        return architecture
    return settle(space, lambda choice: options.get(choice.name, architecture.get(choice.name, choice.options[0])))


def load_space(
    name: str,
    options: Mapping[str, Any] | None = None,
    signature: Signature | None = None,
    *,
    input_shape: Sequence[int] | None = None,
    classes: int | None = None,
) -> SearchSpace:
    """Return the space registered as ``name`` or found at ``module:Name``, made for models of ``signature``.

    For images, ``input_shape`` (channels, height, width) and ``classes`` may take the place of the signature.

    >>> len(load_space("mobilenet", input_shape=(3, 32, 32), classes=10).choices)
    13

    Raises:
        ValueError: neither a signature nor both a shape and classes are given.
        RecipeError: unknown space, no class of a space, or an option that its constructor does not take or refuses.
        SpaceError: its choices break the rules.
    """
    maker = load_plug_in(GROUP, name, "search space")
    if signature is None:
        if input_shape is None or classes is None:
            raise ValueError("a space needs a signature, or both input_shape and classes.")
        signature = image_signature(input_shape, classes)
    return make_space(maker, name, options or {}, signature)


def make_space(maker: object, name: str, options: Mapping[str, Any], signature: Signature) -> SearchSpace:
    """Return the space that ``maker``, a class called ``name``, makes for models of ``signature``.

    Constructors are given what they accept of ``signature``, ``input_shape`` (the shape of the only input) and
    ``classes`` (the size of the output's last axis). A class that has ``accepts`` refuses other inputs.

    Raises:
        RecipeError: no class of a space, an option that it does not take or refuses, inputs that it does not accept,
            or a model with several inputs for a space that takes an ``input_shape``.
        SpaceError: its choices break the rules.
    """
    check_space_class(maker, name)
    check_accepts(maker, name, signature)
    assert callable(maker)
    parameters = parameters_of(maker) or {}
    task: dict[str, Any] = {"signature": signature, "classes": signature.classes}
    if len(signature.inputs) == 1:
        task["input_shape"] = signature.input_shape
    elif "input_shape" in parameters:
        raise RecipeError(f"search space {name!r} takes models of one input, but the data have {signature}.")
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    check_options(maker, options, name, "search space", reserved=task)
    given = {key: value for key, value in task.items() if open_ended or key in parameters}
    missing = [key for key, each in parameters.items() if is_needed(each) and key not in {**given, **options}]
    if missing:
        needed = " and ".join(f"space.{key}" for key in missing)
        raise RecipeError(f"search space {name!r} needs {needed}, but got none. Set it, or give it a default.")
    try:
        with own_code():
            space = maker(**given, **options)
    except NasError:  # it says already what is wrong
        raise
    except Exception as error:
        with_options = f" with {dict(options)}" if options else ""
        raise RecipeError(f"search space {name!r} cannot be made{with_options}: {raised_text(error)}") from None
    check_space(space)
    checked: SearchSpace = space
    return checked


def settle(space: SearchSpace, pick: Callable[[Choice], Option]) -> Architecture:
    """Return the architecture whose options ``pick`` returns for each active choice, in order.

    A space that lists its architectures gives the nearest one that it has.

    Raises:
        SpaceError: the space's ``canonical`` fails, or gives something else than values of its choices.
    """
    values: dict[str, Option] = {}
    for choice in space.choices:
        if is_active(choice, values):
            values[choice.name] = pick(choice)
    if hasattr(space, "listing") and isinstance(space, HasListing):  # isinstance alone takes longer than all above
        return space.listing.nearest(values)
    return Architecture(canonical_values(space, values) if isinstance(space, HasCanonical) else values)


def canonical_values(space: HasCanonical, values: Mapping[str, Option]) -> dict[str, Option]:
    """Return the values that ``canonical`` gives for ``values``, in the order of the choices.

    Raises:
        SpaceError: it fails, or gives something else than options of active choices. It may leave choices out.
    """
    try:
        with own_code():
            given: object = space.canonical(dict(values))
    except Exception as error:
        raise SpaceError(f"canonical of {type(space).__name__} raised {raised_text(error)}.") from None
    if not isinstance(given, Mapping):
        raise SpaceError(
            f"canonical of {type(space).__name__} must return the values of choices, but got {given!r:.80}."
        )
    found: dict[str, Option] = {}
    for choice in space.choices:  # type: ignore[attr-defined]
        name, options = choice.name, choice.options
        if name in given and (choice.when is None or is_active(choice, found)):
            try:
                found[name] = options[options.index(given[name])]
            except ValueError:
                raise SpaceError(
                    f"canonical of {type(space).__name__} must return options of the space, but {name} is "
                    f"{given[name]!r:.80}, and not one of {options}."
                ) from None
    if len(found) != len(given):
        _complain_of_names(space, given, found)
    return found


def _complain_of_names(space: HasCanonical, given: Mapping[str, Option], found: Mapping[str, Option]) -> None:
    strange = [name for name in given if name not in found]
    raise SpaceError(
        f"canonical of {type(space).__name__} must return exactly the active choices, but it also gave "
        f"{', '.join(map(repr, strange))} for {dict(given)}."
    )


def is_active(choice: Choice, values: Mapping[str, Option]) -> bool:
    """Return True if ``choice`` is active, given the ``values`` of the earlier choices."""
    if choice.when is None:
        return True
    parent, options = choice.when
    return parent in values and values[parent] in options


def architecture_from(space: SearchSpace, values: Mapping[str, Option]) -> Architecture:
    """Return the architecture with these values; values of inactive choices are ignored.

    Raises:
        ValueError: an active choice has no value, or a value that is not among its options, or the space lists its
            architectures and has none with these values.
    """

    def pick(choice: Choice) -> Option:
        if choice.name not in values:
            raise ValueError(f"every active choice must have a value, but {choice.name!r} has none.")
        value = values[choice.name]
        if value not in choice.options:
            raise ValueError(f"{choice.name} must be one of {choice.options}, but got {value!r}.")
        return choice.options[choice.options.index(value)]

    found = settle(space, pick)
    if isinstance(space, HasListing) and any(found[name] != values[name] for name in found):
        raise ValueError(f"an architecture must be a row of its table, but no row has {dict(values)}.")
    return found


def sample(space: SearchSpace, rng: np.random.Generator) -> Architecture:
    """Return a random architecture; each active choice is uniform over its options, or each listed one as likely."""
    if isinstance(space, HasListing):
        return space.listing.draw(rng)
    return settle(space, lambda choice: _pick(choice.options, rng))


def mutate(space: SearchSpace, architecture: Architecture, rng: np.random.Generator) -> Architecture:
    """Return another architecture with one active choice changed; newly activated choices are drawn at random.

    Changes that ``canonical`` undoes are skipped. If no change gives another architecture, the same one is returned.
    """
    if isinstance(space, HasListing):
        return _pick(space.listing.around(architecture) or [architecture], rng)
    active = [choice for choice in space.choices if choice.name in architecture]
    for changed in (active[index] for index in rng.permutation(len(active))):
        for replacement in (changed.options[index] for index in rng.permutation(len(changed.options))):
            if replacement == architecture[changed.name]:
                continue

            def pick(choice: Choice, changed: Choice = changed, replacement: Option = replacement) -> Option:
                if choice.name == changed.name:
                    return replacement
                return architecture[choice.name] if choice.name in architecture else _pick(choice.options, rng)

            mutant = settle(space, pick)
            if mutant != architecture:
                return mutant
    return architecture


def cross(space: SearchSpace, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
    """Return a child that takes each active choice from a random parent, or from the only parent that has it."""

    def pick(choice: Choice) -> Option:
        holders = [parent for parent in (first, second) if choice.name in parent]
        if not holders:
            return _pick(choice.options, rng)
        return holders[rng.integers(len(holders))][choice.name]

    return settle(space, pick)


def neighbours(space: SearchSpace, architecture: Architecture) -> list[Architecture]:
    """Return all architectures that differ in one choice; newly activated choices take their first option.

    A space that lists its architectures gives the nearest of them.
    """
    if isinstance(space, HasListing):
        return space.listing.around(architecture)
    found: dict[str, Architecture] = {}
    for changed in space.choices:
        if changed.name not in architecture:
            continue
        for option in changed.options:
            if option == architecture[changed.name]:
                continue
            values = {**{c.name: c.options[0] for c in space.choices}, **architecture, changed.name: option}
            neighbour = settle(space, lambda choice, values=values: values[choice.name])  # type: ignore[misc]
            if neighbour != architecture:
                found[neighbour.id] = neighbour
    return list(found.values())


def count(space: SearchSpace) -> int:
    """Return the exact number of assignments of active choices; duplicates that ``canonical`` joins count each."""
    if isinstance(space, HasListing):
        return len(space.listing)
    children: dict[str | None, list[Choice]] = {}
    ways: dict[str, int] = {}  # by choice: the assignments of it and of all that depends on it
    for choice in reversed(space.choices):  # children come after their parents
        dependent = children.get(choice.name, [])
        ways[choice.name] = sum(
            math.prod(ways[child.name] for child in dependent if child.when is not None and option in child.when[1])
            for option in choice.options
        )
        children.setdefault(choice.when[0] if choice.when else None, []).append(choice)
    return math.prod(ways[root.name] for root in children.get(None, []))


def choices_hash(space: SearchSpace) -> str:
    """Return twelve hexadecimal digits that depend only on the choices."""
    text = json.dumps([(c.name, c.options, c.when, *([c.affects] * (c.affects != "network"))) for c in space.choices])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def enumerate_space(space: SearchSpace) -> Iterator[Architecture]:
    """Yield every architecture once, in a fixed order; meant for small spaces."""
    if isinstance(space, HasListing):
        yield from space.listing
        return
    seen: set[str] = set()
    for values in _assignments(tuple(space.choices)):
        architecture = settle(space, lambda choice, values=values: values[choice.name])  # type: ignore[misc]
        if architecture.id not in seen:
            seen.add(architecture.id)
            yield architecture


def whole_space(space: SearchSpace, most: int = SMALL_SPACE) -> frozenset[Architecture] | None:
    """Return every architecture of a space that has at most ``most``, or None for any other space."""
    if count(space) > MOST_ASSIGNMENTS:
        return None
    found = frozenset(itertools.islice(enumerate_space(space), most + 1))
    return found if len(found) <= most else None


def _assignments(choices: tuple[Choice, ...]) -> Iterator[dict[str, Option]]:
    """Yield all assignments of active choices; the last choice changes first. A space may have a thousand choices."""
    begun: list[tuple[int, dict[str, Option]]] = [(0, {})]
    while begun:
        start, values = begun.pop()
        active = (n for n in range(start, len(choices)) if is_active(choices[n], values))
        if (index := next(active, None)) is None:
            yield values
        else:
            name, options = choices[index].name, choices[index].options
            begun += [(index + 1, {**values, name: option}) for option in reversed(options)]


def _pick(options: Sequence[Picked], rng: np.random.Generator) -> Picked:
    return options[int(rng.integers(len(options)))]
