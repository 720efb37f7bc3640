"""Choices, which are decisions with named options, and architectures, which settle all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

Option = bool | int | float | str
REPR_WIDTH = 200
"""The most characters that choices take where an object is printed; ``Architecture.short`` has all of them."""


@dataclass(frozen=True)
class Choice:
    """A named decision between options.

    ``when`` makes it conditional: a choice with ``when=("depth", (2, 3))`` is active only if the choice ``depth`` is
    active and has the option 2 or 3. Conditions therefore form a forest, which makes counting exact.

    Raises:
        ValueError: an empty name, no options, duplicate options, or an option that is not bool, int, float or str.
    """

    name: str
    options: tuple[Option, ...]
    when: tuple[str, tuple[Option, ...]] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a choice must have a name, but got an empty one.")
        if not self.options:
            raise ValueError(f"choice {self.name!r} must have at least one option, but got none.")
        if not isinstance(self.options, tuple | list):
            raise ValueError(f"options of choice {self.name!r} must be a tuple, but got {self.options!r}.")
        object.__setattr__(self, "options", tuple(self.options))
        if self.when is not None:
            parent, options = self.when
            if not isinstance(options, tuple | list):
                raise ValueError(
                    f"a condition of choice {self.name!r} must be the name of another choice and a tuple of its "
                    f"options, such as ({parent!r}, (1, 2)), but got {self.when!r}."
                )
            object.__setattr__(self, "when", (parent, tuple(options)))
        for option in self.options:
            if not isinstance(option, bool | int | float | str):
                raise ValueError(
                    f"options of choice {self.name!r} must be bool, int, float or str, but got {option!r}."
                )
        if len(set(self.options)) < len(self.options):
            raise ValueError(f"options of choice {self.name!r} must differ, but got {self.options}.")

    @property
    def is_numeric(self) -> bool:
        """True if all options are numbers, so that their order has a meaning."""
        return all(isinstance(option, int | float) for option in self.options)


@dataclass(frozen=True, eq=False)
class Architecture(Mapping[str, Option]):
    """One point of a search space: a mapping from each *active* choice to its option.

    Two assignments that differ only in inactive choices are the same architecture and share ``id``. The operators of
    ``search_space`` make architectures, and keep the order of the space's choices.
    """

    values_by_choice: Mapping[str, Option] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values_by_choice", MappingProxyType(dict(self.values_by_choice)))

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits that depend only on the active choices, and are the same in every process."""
        text = json.dumps(dict(self.values_by_choice), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def short(self) -> str:
        """One line for people, such as ``depth=2 kernel=3``; dotted names are grouped by their first part."""
        return choices_text(self)

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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Architecture({self.id}: {choices_within(self, REPR_WIDTH)})"

    def __reduce__(self) -> tuple[type[Architecture], tuple[dict[str, Option]]]:
        return Architecture, (dict(self.values_by_choice),)


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
