"""Finding plug-ins by name: entry points of installed packages, or ``module:Name`` for the user's own."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import keyword
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path

from nas.errors import RecipeError, did_you_mean, raised_text
from nas.space.own_code import own_code


def plug_in_names(group: str) -> list[str]:
    """Return the names registered under an entry-point group, sorted."""
    return sorted({entry.name for entry in _entries(group)})


def load_plug_in(group: str, name: str, noun: str) -> object:
    """Return the object registered as ``name``, or the one at ``module:Name``.

    A module in the current folder is found too, as for a script that runs there. ``noun`` names the kind of plug-in in
    messages, such as "sampler".

    Raises:
        RecipeError: no such entry point, module or attribute (the nearest known name is given), or the plug-in's
            module fails to import.
    """
    if ":" in name:
        return _load_path(name, noun)
    entry = _entry(group, name, noun)
    try:
        with own_code():
            return entry.load()
    except Exception as error:
        hidden = _hiding(entry)
        if hidden is not None:
            raise RecipeError(
                f"the {noun} {name!r} lies in the package {_top(entry)!r} of {_package(entry)}, but {hidden} has the "
                "same name and hides it. Rename that, or run from another folder."
            ) from error
        raise RecipeError(
            f"the {noun} {name!r} of the package {_package(entry)} fails to import: {raised_text(error)}. "
            "Mend or upgrade that package."
        ) from error


def code_named(group: str, name: str, options: Mapping[str, object], noun: str) -> list[str]:
    """Return the names of code that a plug-in must run: its own name, and those that its options name, as a parent.

    The class of a plug-in may tell them by ``code_named(options)``, and other plug-ins that it is made of, each with
    its options, by ``parts_named(options)``.

    Only names with a colon, ``module:Name``, are code that does not come with an installed package.
    """
    maker = load_plug_in(group, name, noun) if name in plug_in_names(group) else None
    named, parts = (getattr(maker, each, None) for each in ("code_named", "parts_named"))
    found = [name, *(named(options) if callable(named) else ())]
    for part, its in parts(options) if callable(parts) else ():
        found += code_named(group, part, its, noun)
    return found


def plug_in_path(group: str, name: str, noun: str) -> str:
    """Return the ``module:Name`` that ``name`` stands for, without loading it. Raises RecipeError if it is unknown."""
    if ":" in name:
        _split(name, noun)
        return name
    return _entry(group, name, noun).value


@functools.cache
def is_own(group: str, name: str) -> bool:
    """Return True if ``name`` stands for code that does not come with this project; False also for unknown names."""
    packages = {entry.dist.name if entry.dist else "" for entry in _entries(group) if entry.name == name}
    return ":" in name or bool(packages - {"nas"})


def check_options(
    maker: Callable[..., object],
    options: Iterable[str],
    name: str,
    noun: str,
    reserved: Collection[str] = (),
    own: Collection[str] = (),
) -> None:
    """Check that a plug-in takes the options that a recipe gives it, before any work begins.

    ``reserved`` are arguments that ``nas`` itself gives; ``own`` are words that it knows at the same place, so that a
    misspelt one is recognised.

    Raises:
        RecipeError: an option that ``maker`` does not take; the nearest one that it takes is given.
    """
    parameters = parameters_of(maker)
    if parameters is None:
        return
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
    known = [key for key, parameter in parameters.items() if parameter.kind not in positional and key not in reserved]
    for option in options:
        if option not in known:
            near = did_you_mean(option, [*known, *own]) if known or own else "It takes no options."
            raise RecipeError(f"{noun} {name!r} has no option {option!r}. {near}")


def parameters_of(maker: Callable[..., object]) -> dict[str, inspect.Parameter] | None:
    """Return the parameters of a function or class by name; None for compiled ones that do not tell theirs."""
    if inspect.isclass(maker) and getattr(maker.__init__, "__module__", "") == "typing":
        return {}  # it inherits a protocol's constructor, whose signature accepts everything
    try:
        return dict(inspect.signature(maker).parameters)
    except (TypeError, ValueError):
        return None


def is_needed(parameter: inspect.Parameter) -> bool:
    """Return True for a parameter that must be given by its name."""
    by_name = parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return by_name and parameter.default is inspect.Parameter.empty


def check_takes(maker: object, name: str, noun: str, positional: Sequence[str], keywords: Collection[str]) -> None:
    """Check that a plug-in is a function or class with the arguments of its kind, before it is called with anything.

    Raises:
        RecipeError: it is something else. In Python's own library, ``*args`` that swallow them do not count.
    """
    parameters = parameters_of(maker) if callable(maker) else None
    wanted = f"a {noun} must be a function, or a class, that takes ({', '.join([*positional, '*', *keywords])}), but "
    if parameters is None:
        raise RecipeError(f"{wanted}{name!r} is {maker!r:.80}.")
    kinds = [parameter.kind for parameter in parameters.values()]
    by_place = sum(
        kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds
    )
    takes_any = inspect.Parameter.VAR_POSITIONAL in kinds and not _is_python_s_own(maker)
    missing = [word for word in keywords if word not in parameters and inspect.Parameter.VAR_KEYWORD not in kinds]
    if (by_place < len(positional) and not takes_any) or missing:
        given = f"({', '.join(map(str, parameters.values()))})"
        raise RecipeError(f"{wanted}{name!r} takes {given:.160}.")


def _is_python_s_own(maker: object) -> bool:
    """Return True for functions and classes of Python's own library."""
    return (getattr(maker, "__module__", None) or "").partition(".")[0] in sys.stdlib_module_names


def _entries(group: str) -> EntryPoints:
    """Return the entry points of a group. Those on one path are read once, since that takes 40 ms."""
    return _entries_on(tuple(sys.path), group)


@functools.cache
def _entries_on(path: tuple[str, ...], group: str) -> EntryPoints:
    return entry_points(group=group)


def _entry(group: str, name: str, noun: str) -> EntryPoint:
    found = {entry.value: entry for entry in _entries(group) if entry.name == name}
    if not found:
        raise RecipeError(f"unknown {noun} {name!r}. {_of_a_file(name) or did_you_mean(name, plug_in_names(group))}")
    if len(found) > 1:
        packages = " and ".join(sorted(_package(entry) for entry in found.values()))
        paths = " or ".join(sorted(found))
        raise RecipeError(f"the name {name!r} of a {noun} is registered by {packages}: write {paths} instead.")
    return next(iter(found.values()))


def _of_a_file(name: str) -> str | None:
    """Return how to name a class in the file ``name`` of the current folder; None if there is no such file."""
    stem = name.removesuffix(".py")
    if not _is_name(stem) or not Path(f"{stem}.py").is_file():
        return None
    return f"For a class or function of your own in {stem}.py, write {stem}:Name."


def _package(entry: EntryPoint) -> str:
    return "an unknown package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def _top(entry: EntryPoint) -> str:
    return entry.module.partition(".")[0]


def _hiding(entry: EntryPoint) -> str | None:
    """Return the file or folder that is imported in the place of the entry point's package, or None."""
    top, _, rest = entry.module.partition(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not rest:
        return None
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    for folder in folders:
        wanted = folder.joinpath(*rest.split("."))
        if wanted.is_dir() or any(wanted.parent.glob(f"{wanted.name}.*")):  # also a compiled module
            return None
    places = [spec.origin] if spec.origin else [str(folder) for folder in folders]
    return " and ".join(places)


def _split(path: str, noun: str) -> tuple[str, str]:
    """Return the module and the name of ``module:Name``.

    Raises:
        RecipeError: either of them is no name of Python.
    """
    module, _, attribute = path.partition(":")
    stem = module.removesuffix(".py")
    names = [part for part in re.split(r"[./\\]", stem) if part]
    rule = f"a {noun} of your own is named module:Name, such as my_module:MyClass, but got {path!r}."
    if not attribute.isidentifier() or not names or not all(map(_is_name, names)):
        raise RecipeError(rule)
    if module != ".".join(names):
        raise RecipeError(
            f"{rule} Name the module as an import does, without .py and with dots: {'.'.join(names)}:{attribute}."
            + (" Run the command in the folder in which it lies." if module.startswith((".", "/", "\\")) else "")
        )
    return module, attribute


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _load_path(path: str, noun: str) -> object:
    module_name, attribute = _split(path, noun)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        with own_code():
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise RecipeError(f"{noun} {path!r}: {module_name} fails to import: {raised_text(error)}.") from None
        raise RecipeError(
            f"{noun} {path!r} names the module {module_name!r}, which is neither installed nor in {here}."
        ) from None
    except Exception as error:
        raise RecipeError(f"{noun} {path!r}: {module_name} fails to import: {raised_text(error)}.") from None
    try:
        with own_code():
            return getattr(module, attribute)
    except AttributeError:
        public = [name for name in vars(module) if not name.startswith("_")]
        raise RecipeError(
            f"{noun} {path!r}: {module_name} has no {attribute!r}. {did_you_mean(attribute, public)}"
        ) from None
    except Exception as error:
        raise RecipeError(f"{noun} {path!r}: reading {attribute} raised {raised_text(error)}.") from None
