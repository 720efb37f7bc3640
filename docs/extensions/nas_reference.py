"""Directives that write the reference while the site is built, so that it cannot fall behind the code.

``{nas-command}`` lists the arguments and options of one command, ``{nas-recipe}`` the keys of one recipe section,
``{nas-api}`` lists names of ``nas``, each with a page of its own in ``docs/reference/api``, which git ignores, and
``{nas-errors}`` lists the codes of its exceptions.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

TOP_LEVEL = "top level"
"""The name that ``{nas-recipe}`` has for the keys outside all sections."""
API = "api"
"""The page about the API, and the folder beside it with a page for each name."""
DOCUMENTERS = {"class": "autoclass", "exception": "autoexception", "function": "autofunction"}


class _Written(SphinxDirective):
    """A directive whose content is text that Sphinx parses again."""

    has_content = False
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        holder = nodes.container()
        self.state.nested_parse(StringList(list(self.lines()), source="generated"), self.content_offset, holder)
        return holder.children

    def lines(self) -> Iterator[str]:
        raise NotImplementedError


class CommandDirective(_Written):
    """The usage, arguments and options of a command such as ``nas target list``."""

    def lines(self) -> Iterator[str]:
        yield from command_lines(self.arguments[0])


class RecipeDirective(_Written):
    """The keys of a recipe's section, or those outside all sections."""

    def lines(self) -> Iterator[str]:
        yield from section_lines(self.arguments[0])


class ApiDirective(_Written):
    """A table of names of ``nas``, one a line, with links to their pages."""

    has_content = True
    required_arguments = 0

    def lines(self) -> Iterator[str]:
        names = [name for line in self.content if (name := line.strip())]
        rows = ((f"[`{name}`]({API}/{page_of(name)}.md)", summary_of(name)) for name in names)
        yield from table(("Name", "What it is"), rows)
        yield from ("", "```{toctree}", ":hidden:", "", *(f"{API}/{page_of(name)}" for name in names), "```")


class ErrorsDirective(_Written):
    """A table of the codes of exceptions."""

    required_arguments = 0

    def lines(self) -> Iterator[str]:
        yield from table(("Code", "Exception", "What it says"), error_rows())


class OtherNamesDirective(_Written):
    """A table of all names of ``nas`` that the page in the argument does not document with ``{nas-api}``."""

    def lines(self) -> Iterator[str]:
        page = Path(self.env.doc2path(self.env.docname)).with_name(self.arguments[0])
        documented = documented_names(page.read_text(encoding="utf-8"))
        yield from table(("Name", "What it is"), other_names(documented))


# Commands


def command_named(path: str) -> tuple[Any, Any]:
    """The click command that ``path`` names, such as ``nas target list``, and its context."""
    from nas.cli.main import app

    command: Any = app
    context = command.make_context("nas", [], resilient_parsing=True)
    for word in path.split()[1:]:
        command = command.commands[word]
        context = type(context)(command, info_name=word, parent=context)
    return command, context


def command_paths() -> list[str]:
    """Every command that does something, in the order of ``nas --help``."""

    def below(path: str, command: Any) -> Iterator[str]:
        if not hasattr(command, "commands"):
            yield path
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(f"{path} {name}", inner)

    return list(below("nas", command_named("nas")[0]))


def command_lines(path: str) -> Iterator[str]:
    """Markdown about a command: its help, its usage, and a table of its arguments and options."""
    command, context = command_named(path)
    yield from (*(options_as_code(line) for line in inspect.cleandoc(command.help or "").splitlines()), "")
    usage = " ".join(piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]")
    yield from ("```text", f"{path} [OPTIONS] {usage}".strip(), "```", "")
    parameters = [p for p in command.params if p.name != "help" and not getattr(p, "hidden", False)]
    if parameters:
        yield from table(("Argument or option", "Default", "Meaning"), map(_parameter_row, parameters))


def _parameter_row(parameter: Any) -> tuple[str, str, str]:
    is_option = parameter.param_type_name == "option"
    names = (
        ", ".join(f"`{name}`" for name in parameter.opts)
        if is_option
        else f"`{parameter.metavar or parameter.name.upper()}`"
    )
    default = parameter.default
    is_flag = getattr(parameter, "is_flag", False)
    if is_option and not is_flag:
        metavar = parameter.metavar or str(getattr(parameter.type, "name", "")).upper()
        names += f" `{metavar}`"
    told = re.search(r"\s*\[default: (.*?)\]", parameter.help or "")
    if told:
        shown = options_as_code(told[1]) if " " in told[1] else f"`{told[1]}`"
    elif default is None or is_flag or default in ((), []) or "UNSET" in repr(default):
        shown = ""
    else:
        shown = f"`{default}`"
    meaning = (parameter.help or "").replace(told[0] if told else "", "")
    return names, "required" if parameter.required else shown, options_as_code(meaning)


def options_as_code(text: str) -> str:
    """Help with its options, such as ``--space``, in code spans."""
    return re.sub(r"(?<!\S)(--[a-z][a-z-]*)", r"`\1`", text)


# Recipes


def sections() -> dict[str, type[BaseModel]]:
    """The sections of a recipe by their names, those outside of all first."""
    import nas

    found: dict[str, type[BaseModel]] = {TOP_LEVEL: nas.Recipe}
    for name, field in nas.Recipe.model_fields.items():
        model = section_of(field)
        if model is not None:
            found[name] = model
    return found


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a section; None for a plain value."""
    candidates = typing.get_args(field.annotation) or (field.annotation,)
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)), None)


def section_lines(name: str) -> Iterator[str]:
    """Markdown about a section of a recipe: what it is for, and a table of its keys."""
    model = sections()[name]
    rows = [
        (f"`{key}`", type_text(field), default_text(field), field.description or "")
        for key, field in model.model_fields.items()
        if section_of(field) is None
    ]
    if name != TOP_LEVEL:
        yield from ((inspect.getdoc(model) or "").partition("\n\n")[0], "")
    yield from table(("Key", "Type", "Default", "Meaning"), rows)
    if model.model_config.get("extra") == "allow":
        yield from ("", "All other keys are options of the plug-in.")


def default_text(field: FieldInfo) -> str:
    """The default as it is written in TOML; empty where there is none."""
    from nas.recipe.toml_text import toml_lines

    default = field.default_factory() if field.default_factory is not None else field.default  # type: ignore[call-arg]
    if default is None or default is PydanticUndefined:
        return "–"
    return f"`{''.join(toml_lines({'x': default})).removeprefix('x = ').strip()}`"


def type_text(field: FieldInfo) -> str:
    """The type of a key, and the range of its values, for people."""
    bounds = [
        f"{sign} {bound if isinstance(bound, int) else format(bound, 'g')}"
        for each in field.metadata
        for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
        if (bound := getattr(each, name, None)) is not None
    ]
    return ", ".join([_type_name(field.annotation), *bounds])


_NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "table"}


def _type_name(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_name(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{argument}`" for argument in arguments)
    if origin in (types.UnionType, typing.Union):
        names = dict.fromkeys(_type_name(each) for each in arguments if each is not type(None))
        return (", " if all(name.startswith("`") for name in names) else " or ").join(names)
    if origin in (tuple, list):
        elements = [each for each in arguments if each is not Ellipsis]
        several = f"{len(elements)} " if origin is tuple and Ellipsis not in arguments else ""
        return f"list of {several}{_plural(_type_name(elements[0]))}"
    return _NAMES.get(origin or annotation, getattr(annotation, "__name__", str(annotation)))


def _plural(noun: str) -> str:
    return noun if noun.startswith("`") else {"text": "texts"}.get(noun, f"{noun}s")


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A Markdown table."""
    titles = list(header)
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


# The API


def kind_of(name: str) -> str:
    """The kind of the object ``nas.<name>``: class, exception or function."""
    import nas

    thing = getattr(nas, name)
    if isinstance(thing, type):
        return "exception" if issubclass(thing, BaseException) else "class"
    return "function"


def page_of(name: str) -> str:
    """The name of the page about ``nas.<name>``. Some systems do not tell ``Drift`` from ``drift``."""
    return f"{name}-class" if kind_of(name) == "class" and name.lower() in vars_of_nas() else name


def vars_of_nas() -> set[str]:
    """The public names of ``nas`` that have no capitals."""
    import nas

    return {name for name in nas.__all__ if name == name.lower()}


def summary_of(name: str) -> str:
    """The first sentence of the documentation of ``nas.<name>``."""
    import nas

    text = (inspect.getdoc(getattr(nas, name)) or "").partition("\n\n")[0]
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", text, maxsplit=1)[0]


def api_page(name: str) -> str:
    """The text of the page about ``nas.<name>``, with all members of a class."""
    kind = kind_of(name)
    members = "\n   :members:" if kind == "class" else ""
    call = "()" if kind == "function" else ""
    return f"# nas.{name}{call}\n\n```{{eval-rst}}\n.. {DOCUMENTERS[kind]}:: nas.{name}{members}\n```\n"


def write_api_pages(app: Sphinx) -> None:
    """Make ``docs/reference/api`` hold a page for each name that ``docs/reference/api.md`` lists."""
    reference = Path(app.srcdir, "reference")
    names = documented_names((reference / f"{API}.md").read_text(encoding="utf-8"))
    texts = {f"{page_of(name)}.md": api_page(name) for name in sorted(names)}
    folder = reference / API
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.md"):
        if path.name not in texts:
            path.unlink()
    for file, text in texts.items():
        if not (folder / file).is_file() or (folder / file).read_text(encoding="utf-8") != text:
            (folder / file).write_text(text, encoding="utf-8")


def documented_names(page: str) -> set[str]:
    """The names in the ``{nas-api}`` blocks of a page."""
    blocks = re.findall(r"```\{nas-api\}\n(.*?)```", page, flags=re.DOTALL)
    return {name for block in blocks for name in block.split()}


def other_names(documented: set[str]) -> Iterator[tuple[str, str]]:
    """Every other public name of ``nas``, with the first sentence of its documentation."""
    import nas

    for name in sorted(set(nas.__all__) - documented, key=str.lower):
        thing = getattr(nas, name)
        is_plain = not (isinstance(thing, type) or inspect.isroutine(thing))
        yield f"`{name}`", "a value" if is_plain else summary_of(name)


def error_rows() -> Iterator[tuple[str, str, str]]:
    """Every public exception of ``nas``: its code, its name, and the first sentence of its documentation."""
    import nas

    for name in nas.__all__:
        if kind_of(name) == "exception":
            thing = getattr(nas, name)
            yield f"`{thing.code}`", f"`nas.{name}`", (inspect.getdoc(thing) or "").partition("\n\n")[0]


def keep_colons(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Begin a property's documentation with an empty line, or Napoleon takes the words before a colon for its type."""
    if what == "property":
        lines.insert(0, "")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("nas-command", CommandDirective)
    app.add_directive("nas-recipe", RecipeDirective)
    app.add_directive("nas-api", ApiDirective)
    app.add_directive("nas-errors", ErrorsDirective)
    app.connect("builder-inited", write_api_pages)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.add_directive("nas-other-names", OtherNamesDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
