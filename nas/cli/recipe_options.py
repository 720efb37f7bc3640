"""Options of commands that are keys of a recipe: their names, values and help come from the recipe's fields."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Annotated, Any, get_args

import typer
from pydantic.fields import FieldInfo
from typer.models import OptionInfo

from nas.recipe.problems import key_fields
from nas.recipe.recipe import Recipe
from nas.recipe.sections import OwnOption
from nas.recipe.toml_text import NAMED, toml_literal

FIELDS = dict(key_fields(Recipe))
CHANGES = "changes"
"""The parameter of a command that becomes one option for each key with an option of its own."""
AMOUNTS = ("trials",)
"""Keys of whole numbers whose options also take +N, which extends a run by so many."""
LAST = ("seed", "name")
"""Keys that a recipe begins with, but whose options are the last that one reads about."""


def key_option(key: str, flag: str = "", metavar: str = "", *, default: str = "", note: str = "") -> OptionInfo:
    """Return the option that takes the value of a recipe's key.

    Args:
        key: the dotted key, such as ``measuring.precision``.
        flag: the name of the option; by default the one that ``nas search`` has for the key.
        metavar: what the help calls the value; by default as for ``nas search``.
        default: what holds without the option, if the parameter's own default does not say it.
        note: a sentence that this command adds to the key's description.
    """
    field = FIELDS[key]
    own = _own(field)
    bounds = {
        name: getattr(each, name) for each in field.metadata for name in ("ge", "gt", "le") if hasattr(each, name)
    }
    own = own or OwnOption(flag, metavar)
    option: OptionInfo = typer.Option(
        flag or own.flag,
        metavar=metavar or own.metavar,
        min=bounds.get("ge", bounds.get("gt")),
        max=bounds.get("le"),
        help=" ".join(filter(None, (_meaning(field), note, f"[default: {default}]" if default else ""))),
    )
    return option


def takes_keys(
    *left_out: str, defaults: Mapping[str, str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each key of the recipe that has one, but for the keys ``left_out``.

    The command gets the options that were used in its parameter ``changes``, as ``key=value`` in the order of keys.
    ``defaults`` says of keys what holds without their options, where that is not the recipe's default.
    """
    options = {name: key for name, key in own_options() if key not in left_out}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**values: Any) -> None:
            given = {key: values.pop(name) for name, key in options.items()}
            changes = [f"{_place(key)}={_literal(key, value)}" for key, value in given.items() if value is not None]
            command(**values, changes=changes)

        signature = inspect.signature(command, eval_str=True)
        made = [_parameter(name, key, (defaults or {}).get(key)) for name, key in options.items()]
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            parameters += made if parameter.name == CHANGES else [parameter]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def _literal(key: str, value: Any) -> str:
    """Return the value of an option as TOML. An amount such as +50 stays a text, for TOML has no word for more."""
    is_number = key in AMOUNTS and value.removeprefix("-").isdigit()
    return str(value) if is_number else toml_literal(value)


def own_options() -> Iterator[tuple[str, str]]:
    """Yield the options of ``nas search`` that are keys: the name of the parameter, and the key."""
    for key in sorted(FIELDS, key=lambda key: key in LAST):
        own = _own(FIELDS[key])
        if own is not None:
            yield own.flag.removeprefix("--").replace("-", "_"), key


def _own(field: FieldInfo) -> OwnOption | None:
    return next((each for each in field.metadata if isinstance(each, OwnOption)), None)


def _parameter(name: str, key: str, default: str | None) -> inspect.Parameter:
    """Return the parameter of a command for a key. The recipe checks the value. ``default`` replaces its default."""
    field = FIELDS[key]
    own = _own(field)
    assert own is not None
    default = _in_words(field.default) if default is None else default
    told = f" [default: {default}]" if default else ""
    is_list = _is_list(field) or own.repeats
    option = typer.Option(
        own.flag, metavar=own.metavar, help=_meaning(field, "They replace the recipe's.", is_list=is_list) + told
    )
    is_whole = field.annotation is int and key not in AMOUNTS
    value: Any = list[str] if is_list else int if is_whole else str
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(name, kind, default=None, annotation=Annotated[value | None, option])


def _meaning(field: FieldInfo, of_lists: str = "", *, is_list: bool | None = None) -> str:
    """Return the description of a key as help: keys are named by their options, and a list is given by repeating.

    ``is_list`` tells if the option repeats, if its field does not say it.
    """
    is_list = _is_list(field) if is_list is None else is_list
    assert field.description is not None
    text = re.sub("``(.+?)``", lambda code: _said(code[1]), field.description)
    several = " ".join(filter(None, ("Repeat for several.", of_lists))) if is_list else ""
    return " ".join(filter(None, (text, several)))


def _said(code: str) -> str:
    """Return code in a description as one types it in a shell."""
    own = _own(FIELDS[code]) if code in FIELDS else None
    if own is not None:
        return own.flag
    return f"'{code}'" if re.search("[<> ]", code) and not code.startswith("nas ") else code


def _is_list(field: FieldInfo) -> bool:
    return tuple in {getattr(each, "__origin__", each) for each in (field.annotation, *get_args(field.annotation))}


def _in_words(default: Any) -> str:
    return " and ".join(default) if isinstance(default, tuple) else "" if default is None else str(default)


def _place(key: str) -> str:
    """Return the key that an option sets: that of a section whose name stands for it alone is the section's."""
    section, _, last = key.rpartition(".")
    return section if section in NAMED and last == "name" else key
