"""A search space by its name, as the commands about tables take it, with the task that it is made for."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from nas.errors import RecipeError
from nas.recipe.toml_text import apply_overrides
from nas.space.description import Describer
from nas.space.first_look import DEFAULT_LIMIT_S, FirstLook, load_space_apart
from nas.space.search_space import SearchSpace
from nas.space.signature import Signature, image_signature
from nas.tables.row_space import with_table

DEFAULT_SHAPE = (3, 32, 32)
DEFAULT_CLASSES = 10


@final
@dataclass(frozen=True)
class NamedSpace:
    """A search space by its name, its constructor's options and the signature of its models."""

    name: str
    options: Mapping[str, Any]
    signature: Signature

    @classmethod
    def parse(cls, name: str, options: Sequence[str], input_shape: str | None, classes: int | None) -> NamedSpace:
        """Return the space from the texts of the command line; None stands for the default.

        Raises:
            RecipeError: an option that is not KEY=VALUE, or a shape that is not sizes such as 3x32x32.
        """
        shape = DEFAULT_SHAPE if input_shape is None else parse_shape(input_shape)
        signature = image_signature(shape, DEFAULT_CLASSES if classes is None else classes)
        return cls(name, parse_options(options), signature)

    def load_apart(self, say: Callable[[str], None]) -> tuple[SearchSpace, FirstLook]:
        """Return the space itself, and what looks at its architectures first; a look must be closed.

        ``say`` tells people who wait.

        Raises:
            RecipeError: an unknown space or option.
            SpaceError: the space breaks its own rules, or ends or holds up its process.
        """
        return load_space_apart(self.name, self.options, self.signature, say=say)

    @contextlib.contextmanager
    def described(
        self, say: Callable[[str], None], limit_s: float = DEFAULT_LIMIT_S, *, builds: bool = False
    ) -> Iterator[tuple[Describer, FirstLook]]:
        """Yield the describer of the space, which finds layers by the look that comes with it.

        Code of the user's own has ``limit_s`` to come back. Without ``builds``, nothing is built but to find layers.
        Raises as ``load_apart`` does.
        """
        space, look = load_space_apart(self.name, self.options, self.signature, say=say, limit_s=limit_s, builds=builds)
        with contextlib.closing(look):
            yield Describer(space, look.layers), look


def space_of_table(
    path: Path | None, name: str | None, options: Sequence[str], input_shape: str | None, classes: int | None
) -> NamedSpace:
    """Return the space of the table at ``path`` from the texts of the command line; ``path`` is None without one.

    Raises:
        RecipeError: no name, an option that is not KEY=VALUE, or a shape that is not CxHxW.
    """
    if name is None:
        what = "kept measurements" if path is None else path
        raise RecipeError(f"a table does not name its search space: name that of {what} with --space NAME.")
    named = NamedSpace.parse(name, options, input_shape, classes)
    if path is None:
        return named
    return replace(named, options=with_table(name, named.options, path))


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the sizes in a text such as ``3x32x32``. Raises RecipeError unless there are one to three.

    They are channels, height and width of images, channels and samples of signals, or the number of values.
    """
    sizes = tuple(parse_sizes(text))
    if len(sizes) not in (1, 2, 3):
        raise RecipeError(f"--input-shape is channels, height and width, such as 3x32x32, but got {text!r}.")
    return sizes


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return the sizes in a text such as ``3x32x32`` or ``128``. Raises RecipeError for any other text."""
    if not re.fullmatch(r"[1-9][0-9]{0,6}(x[1-9][0-9]{0,6})*", text.strip()):
        raise RecipeError(
            f"--input-shape is the sizes of one input, without the batch, such as 3x32x32, but got {text[:60]!r}."
        )
    return tuple(int(size) for size in text.strip().split("x"))


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Return the values of texts such as ``channels=8``. Raises RecipeError for a text without a key and ``=``."""
    for given in options:
        if not given.partition("=")[0].strip() or "=" not in given:
            raise RecipeError(f"--option takes KEY=VALUE, such as channels=8, but got {given!r}.")
    return apply_overrides({}, options)
