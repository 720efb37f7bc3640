"""Choices, which are decisions with named options, and architectures, which settle all of them."""

from __future__ import annotations

import enum
import hashlib
import json
import math
from collections.abc import Callable, Collection, ItemsView, Iterator, Mapping, Sequence, ValuesView
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal, final

import numpy as np

Option = bool | int | float | str
REPR_WIDTH = 200
"""The most characters that choices take where an object is printed; ``Architecture.short`` has all of them."""

MOST_OPTIONS, MOST_NAMES = 1000, 20_000
"""The most options of a choice, each of which is a neighbour to look at, and a column for predictors; and the most
texts, which may name the rows of a table."""
MOST_SHOWN = 80


@dataclass(frozen=True)
class Choice:
    """A named decision between options.

    ``when`` makes it conditional: a choice with ``when=("depth", (2, 3))`` is active only if the choice ``depth`` is
    active and has the option 2 or 3. Conditions therefore form a forest, which makes counting exact.

    With ``affects="training"`` the choice changes how a network is trained, and nothing that a device sees: networks
    that differ only in such choices share their measurements. One that is named like a key of ``[training]``, such as
    ``learning_rate``, takes its place. With ``affects="deployment"`` it changes how a trained network is deployed, and
    not its training: networks that differ only in such choices share one. Only a recipe's ``precisions`` add such one.

    Options of numpy become those of Python: ``np.int64(3)`` is 3.

    Raises:
        ValueError: a name that is no text, no options or too many, duplicate options, or an option that is not a bool,
            an int of 64 bits, a finite float or a text; or it affects something else.
    """

    name: str
    options: tuple[Option, ...]
    when: tuple[str, tuple[Option, ...]] | None = None
    affects: Literal["network", "training", "deployment"] = "network"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not is_text(self.name) or not self.name.strip():
            raise ValueError(f"a choice must have a name, which is a text on one line, but got {self.name!r}.")
        object.__setattr__(self, "name", str(self.name))
        if not isinstance(self.options, tuple | list | range | np.ndarray):
            raise ValueError(f"options of choice {self.name!r} must be a tuple, but got {_shown(self.options)}.")
        are_texts = len(self.options) > 0 and all(isinstance(option, str) for option in self.options)
        most = MOST_NAMES if are_texts else MOST_OPTIONS
        if not 1 <= len(self.options) <= most:
            raise ValueError(
                f"choice {self.name!r} must have 1 to {most:,} options, but got {len(self.options):,}. "
                "Numbers can go in larger steps, as in tuple(range(8, 513, 8))."
            )
        options = tuple(self._checked(option) for option in self.options)
        if len(set(options)) < len(options):
            twice = next(option for option in options if options.count(option) > 1)
            raise ValueError(f"options of choice {self.name!r} must differ, but {twice!r} comes more than once.")
        object.__setattr__(self, "options", options)
        if self.when is not None:
            object.__setattr__(self, "when", self._checked_condition())
        if self.affects not in ("network", "training", "deployment"):
            raise ValueError(
                f'choice {self.name!r} must affect "network" or "training", but it affects {_shown(self.affects)}.'
            )

    def _checked(self, option: object) -> Option:
        """Return an option as a plain bool, int, float or text."""
        plain = option.item() if isinstance(option, np.generic) else option
        for kind in (bool, int, float, str):
            if isinstance(plain, kind):
                plain = kind(plain.value if isinstance(plain, enum.Enum) else plain)
                break
        else:
            raise ValueError(
                f"options of choice {self.name!r} must be bool, int, float or str, but got {_shown(option)}."
            )
        if isinstance(plain, float) and not math.isfinite(plain):
            raise ValueError(f"options of choice {self.name!r} must be finite numbers, but got {plain}.")
        if isinstance(plain, int) and not -(2**63) <= plain < 2**63:
            raise ValueError(f"options of choice {self.name!r} must be numbers of 64 bits, but got {_shown(plain)}.")
        if isinstance(plain, str) and not is_text(plain):
            raise ValueError(f"options of choice {self.name!r} must be texts on one line, but got {_shown(plain)}.")
        return plain

    def _checked_condition(self) -> tuple[str, tuple[Option, ...]]:
        """Return the condition as a name and a tuple of plain options."""
        given: object = self.when
        match given:
            case (str() as parent, (tuple() | list()) as options):
                return str(parent), tuple(self._checked(option) for option in options)
        example = given[0] if isinstance(given, tuple | list) and given else "depth"
        raise ValueError(
            f"a condition of choice {self.name!r} must be the name of another choice and a tuple of its "
            f"options, such as ({_shown(example)}, (1, 2)), but got {_shown(given)}."
        )

    @property
    def is_of_training(self) -> bool:
        """True if it affects training only."""
        return self.affects == "training"

    @property
    def is_of_deployment(self) -> bool:
        """True if it affects nothing but how a trained network is deployed."""
        return self.affects == "deployment"

    @property
    def is_numeric(self) -> bool:
        """True if all options are numbers, so that their order has a meaning."""
        return all(isinstance(option, int | float) for option in self.options)


@final
class _Options(Mapping[str, Option]):
    """Options by name, which cannot be changed. Equal names are kept once: a dictionary takes three times the memory.

    A long search holds a hundred thousand.
    """

    __slots__ = ("_options", "_places")

    def __init__(self, options: Mapping[str, Option]) -> None:
        self._places = _places(tuple(options))
        self._options = tuple(options.values())

    def __getitem__(self, name: str) -> Option:
        return self._options[self._places[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._options)

    def items(self) -> ItemsView[str, Option]:
        """Return names with options; the general ``items`` would look each name up."""
        return self._as_dict().items()

    def values(self) -> ValuesView[Option]:
        """Return the options; the general ``values`` would look each name up."""
        return self._as_dict().values()

    def _as_dict(self) -> dict[str, Option]:
        return dict(zip(self._places, self._options, strict=True))

    def __repr__(self) -> str:
        return repr(self._as_dict())


@lru_cache(10_000)
def _places(names: tuple[str, ...]) -> dict[str, int]:
    """Return the place of each name."""
    return {name: place for place, name in enumerate(names)}


@dataclass(frozen=True, eq=False)
class Architecture(Mapping[str, Option]):
    """One point of a search space: a mapping from each *active* choice to its option.

    Two assignments that differ only in inactive choices are the same architecture and share ``id``. The operators of
    ``search_space`` make architectures, and keep the order of the space's choices.
    """

    values_by_choice: Mapping[str, Option] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values_by_choice", _Options(self.values_by_choice))

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits that depend only on the active choices, and are the same in every process."""
        text = json.dumps(dict(self.items()), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def short(self) -> str:
        """One line for people, such as ``depth=2 kernel=3``; dotted names are grouped by their first part."""
        return choices_text(self)

    def without(self, names: Collection[str]) -> Architecture:
        """Return the architecture without these choices."""
        return Architecture({name: option for name, option in self.items() if name not in names})

    def changed_from(self, other: Architecture) -> dict[str, Option]:
        """Return the choices that ``other`` settles in another way or not at all, with the options here."""
        return {
            name: option for name, option in self.items() if name not in other or _brief(other[name]) != _brief(option)
        }

    def __getitem__(self, name: str) -> Option:
        return self.values_by_choice[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_choice)

    def __len__(self) -> int:
        return len(self.values_by_choice)

    def items(self) -> ItemsView[str, Option]:
        """Return choices with their options."""
        return self.values_by_choice.items()

    def values(self) -> ValuesView[Option]:
        """Return the options."""
        return self.values_by_choice.values()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Architecture({self.id}: {choices_within(self, REPR_WIDTH)})"

    def __reduce__(self) -> tuple[type[Architecture], tuple[dict[str, Option]]]:
        return Architecture, (dict(self.items()),)


def choices_text(options: Mapping[str, Option]) -> str:
    """Return options by choice in one line, such as ``depth=2 stage1(kernel=3 width=16)``."""
    parts: dict[str, list[str]] = {}
    for name, value in options.items():
        group, dot, rest = name.partition(".")
        parts.setdefault(group if dot else "", []).append(f"{rest or group}={_brief(value)}")
    found = (f"{group}({' '.join(texts)})" if group else " ".join(texts) for group, texts in parts.items())
    return printable(" ".join(found))


def choices_within(
    options: Mapping[str, Option],
    width: int,
    *,
    start: str = "",
    gone: Sequence[str] = (),
    length: Callable[[str], int] = len,
) -> str:
    """Return as many options as fit into ``width`` after ``start``, and the number of the others.

    Choices that are ``gone`` follow, as in ``depth=1, without kernel``, if all of them fit too.
    """
    names = list(options)
    ending = f"without {', '.join(map(printable, gone))}" if gone else ""
    whole = f"{start}{choices_text(options)}" if names else ""
    text = ", ".join(part for part in (whole, ending) if part)
    if text and length(text) <= width:
        return text
    for count in range(len(names), 0, -1):
        left = len(names) - count + len(gone)
        text = f"{start}{choices_text({name: options[name] for name in names[:count]})} and {left} more"
        if left and length(text) <= width:
            return text
    total = len(names) + len(gone)
    return f"{start}{total or 'no'} choice{'s' * (total != 1)}"


def printable(text: str) -> str:
    """Return ``text`` on one line: line breaks, control characters and lone surrogates are written as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _brief(value: Option) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def is_text(text: str) -> bool:
    """Return True if ``text`` is on one line, without control characters, and can be written to a file."""
    return not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in text) and not any(
        0xD800 <= ord(character) < 0xE000 for character in text
    )


def _shown(value: object) -> str:
    """Return a value for a message, shortened; its own ``repr`` may be long, or fail."""
    try:
        text = " ".join(ascii(value).split())
    except Exception:
        text = f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
