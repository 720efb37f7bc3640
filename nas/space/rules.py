"""The rules of search spaces: which class can be one, and which choices it may have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from nas.errors import RecipeError, SpaceError, raised_text
from nas.space.architecture import Choice
from nas.space.listing import Listing
from nas.space.own_code import own_code
from nas.space.plug_ins import load_plug_in, plug_in_names
from nas.space.signature import Accepts, Signature

METHODS = ("layers", "canonical", "supernet", "inputs", "start", "origin")
"""The optional methods of a space."""
NAMED = {"known_names": "known", "number_names": "numbers"}
"""Optional names of values, and the method that gives these."""
GROUP = "nas.search_spaces"
MOST_CHOICES = 1000


def check_space_class(maker: object, name: str) -> None:
    """Check that ``maker`` is the class of a space before it is called with anything.

    Raises:
        RecipeError: something else, such as a function.
    """
    if not inspect.isclass(maker):
        raise RecipeError(
            f"search space {name!r} must be a class with choices and a method build, but got a {type(maker).__name__}: "
            f"{maker!r:.80}."
        )
    missing = [] if callable(getattr(maker, "build", None)) else ["method build(architecture)"]
    missing += [] if _has_choices(maker) else ["choices"]
    if missing:
        raise RecipeError(
            f"search space {name!r} must be a class with choices and a method build, but {maker.__qualname__} has no "
            f"{' and no '.join(missing)}."
        )


def check_accepts(maker: object, name: str, signature: Signature) -> None:
    """Check that the class of a space called ``name``, if it tells what it accepts, accepts models of ``signature``.

    Raises:
        RecipeError: it takes other inputs. The message names the installed spaces that take these.
    """
    accepts = getattr(maker, "accepts", None)
    if not isinstance(accepts, Accepts):
        return
    try:
        accepts.check(name, signature)
    except ValueError as error:
        fitting = fitting_spaces(signature)
        named = f"Spaces that take them: {', '.join(fitting)}." if fitting else "No installed space takes them."
        raise RecipeError(f"search space {error} {named}") from None


def fitting_spaces(signature: Signature) -> list[str]:
    """Return the names of the installed spaces whose classes say that they accept models of ``signature``."""
    found = []
    for name in plug_in_names(GROUP):
        try:
            accepts = getattr(load_plug_in(GROUP, name, "search space"), "accepts", None)
        except RecipeError:  # a package that cannot be imported is no help here, and is told when it is named
            continue
        if isinstance(accepts, Accepts) and accepts.fits(signature):
            found.append(name)
    return found


def _has_choices(kind: type) -> bool:
    """Return True if a class has choices, or the code of one of its methods gives them to its objects."""
    if hasattr(kind, "choices"):
        return True
    for each in kind.__mro__:
        if "choices" in {**inspect.get_annotations(each), **dict.fromkeys(getattr(each, "__slots__", ()))}:
            return True
        codes = [code for member in vars(each).values() if (code := getattr(member, "__code__", None)) is not None]
        if any("choices" in (*code.co_names, *code.co_consts) for code in codes):
            return True
    return "__getattr__" in vars(kind)


def check_space(space: object) -> None:
    """Check that a space follows the rules.

    Raises:
        SpaceError: no method ``build``, no choices, choices that change, a duplicate name, a condition on a choice
            that does not come earlier, or an attribute with the name of an optional member.
    """
    kind = type(space).__name__
    if not callable(getattr(space, "build", None)):
        raise SpaceError(f"a space must have a method build(architecture), but {kind} has none.")
    choices, again = _choices_of(space), _choices_of(space)
    seen: dict[str, Choice] = {}
    for choice in choices:
        if not isinstance(choice, Choice):
            raise SpaceError(f"choices of a space must be nas.Choice objects, but got {choice!r:.80}.")
        if choice.name in seen:
            raise SpaceError(f"choices of a space must have different names, but {choice.name!r} comes twice.")
        if choice.is_of_deployment:
            raise SpaceError(
                f"choices of a space affect the network or its training, but {choice.name!r} affects its deployment. "
                "Leave it out, and name the precisions in the recipe: precisions = ['fp32', 'int8']."
            )
        _check_condition(choice, seen)
        seen[choice.name] = choice
    if not 1 <= len(seen) <= MOST_CHOICES:
        given = f"{len(seen):,}" if seen else "none"
        raise SpaceError(f"a space must have at least one choice and at most {MOST_CHOICES:,}, but {kind} has {given}.")
    if not any(choice.affects == "network" for choice in choices):
        raise SpaceError(
            f"a space must have at least one choice that affects the network, but all of {kind} affect training only. "
            "One option is enough."
        )
    if choices != again:
        raise SpaceError(
            f"choices of a space must be the same at each reading, but those of {kind} change. Make them once, in the "
            "class or in its constructor."
        )
    _check_optional(space)


def _check_optional(space: object) -> None:
    """Check that an optional member of a space is one, and no attribute that happens to have its name.

    Raises:
        SpaceError: it is something else.
    """
    kind = type(space).__name__

    def read(name: str) -> object:
        try:
            with own_code():
                return getattr(space, name, None)
        except Exception as error:
            raise SpaceError(f"reading {name} of the space {kind} raised {raised_text(error)}.") from None

    def check(name: str, wanted: str, fits: Callable[[object], bool]) -> None:
        found = read(name)
        if found is not None and not fits(found):
            raise SpaceError(
                f"{name} of a space must be {wanted}, but that of {kind} is {found!r:.80}. If it is something else, "
                "give it another name."
            )

    for name in METHODS:
        check(name, "a method", callable)
    for name, method in NAMED.items():
        if read(name) is not None and read(method) is not None:
            check(method, "a method", callable)
            check(name, "a tuple of names", _are_names)
    check("listing", "a nas.space.listing.Listing", lambda found: isinstance(found, Listing))
    check("accepts", "a nas.Accepts", lambda found: isinstance(found, Accepts) or callable(found))


def _are_names(found: object) -> bool:
    if isinstance(found, str) or not isinstance(found, Collection | np.ndarray):
        return False
    return all(isinstance(each, str) for each in found)


def _choices_of(space: object) -> list[Any]:
    """Return what ``choices`` gives, once. Raises SpaceError if that is no sequence."""
    try:
        with own_code():
            found = getattr(space, "choices")  # noqa: B009 an object of which nothing is known
            if isinstance(found, Sequence) and not isinstance(found, str | bytes):
                return list(found)
    except Exception as error:
        raise SpaceError(
            f"a space must have choices, but reading those of {type(space).__name__} raised {raised_text(error)}."
        ) from None
    raise SpaceError(
        f"a space must have choices, a tuple of nas.Choice objects, but those of {type(space).__name__} are "
        f"{found!r:.80}."
    )


def _check_condition(choice: Choice, before: Mapping[str, Choice]) -> None:
    if choice.when is None:
        return
    parent, options = choice.when
    if parent in before and before[parent].is_of_training and not choice.is_of_training:
        raise SpaceError(
            f"a choice that affects the network cannot depend on one that affects training only, but {choice.name!r} "
            f"depends on {parent!r}."
        )
    if parent not in before:
        raise SpaceError(
            f"a choice must come after the choice that it depends on, but {choice.name!r} depends on "
            f"{parent!r}, which does not come before it."
        )
    if not options or any(option not in before[parent].options for option in options):
        raise SpaceError(
            f"choice {choice.name!r} depends on {parent!r} being one of {options}, "
            f"but {parent!r} has only the options {before[parent].options}."
        )
