"""The command ``nas``: its commands, its exit statuses, and how it prints errors.

Each command imports what it needs when it runs, so that ``nas --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nas.cli.output import print_json
from nas.cli.plug_in_summaries import first_sentence, summary_of
from nas.errors import LimitError, NasError, RepeatedFailureError
from nas.signals import Stopped, check, heed, stopping

REFUSED, STOPPED, INTERRUPTED = 2, 1, 130
"""Exit statuses: the request is wrong; the run stopped early; Ctrl-C. Other signals have 128 and their number."""


class InterruptedByUserError(Exception):
    """A signal. Typer would turn a KeyboardInterrupt into a status that depends on its version, and drop its notes."""


class _Commands(TyperGroup):
    """A group of commands that are imported when they are called."""

    places: Mapping[str, str | _Commands]
    sections: Mapping[str, tuple[str, ...]]

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands in their own order."""
        return list(self.places)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands with their whole first sentences. Typer would import them, and cut these to one line."""
        width = max(map(len, self.places))
        for title, names in self.sections.items():
            with formatter.section(title):
                found = [(name, self.places[name]) for name in names]
                formatter.write_dl([(name.ljust(width), _sentence(place)) for name, place in found])

    def invoke(self, ctx: Any) -> Any:
        try:
            try:
                return super().invoke(ctx)
            except Exception:
                check()  # a library may have turned a signal into an error
                raise
        except KeyboardInterrupt as error:
            raise InterruptedByUserError from error


def _sentence(place: str | _Commands) -> str:
    """Return the first sentence on a command or a group, without importing it."""
    return summary_of(place) if isinstance(place, str) else first_sentence(place.help or "")


class _Imported(Mapping[str, Any]):
    """Commands by their names. One at ``module:function`` is imported when it is looked up."""

    def __init__(self, places: Mapping[str, str | _Commands]) -> None:
        self.places = places

    def __getitem__(self, name: str) -> Any:
        place = self.places[name]
        return _imported(name, place) if isinstance(place, str) else place

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


@cache
def _imported(name: str, place: str) -> Any:
    """Return the command that Typer makes of the function at ``module:function``."""
    module, _, function = place.partition(":")
    maker = typer.Typer(add_completion=False, rich_markup_mode=None)
    maker.command(name)(getattr(import_module(module), function))
    return typer.main.get_command(maker)


def _group(
    help_text: str,
    places: Mapping[str, str | _Commands],
    options: Callable[..., None] | None = None,
    sections: Mapping[str, Mapping[str, str | _Commands]] | None = None,
) -> _Commands:
    """Return the group of the commands at ``places``, with the options that ``options`` takes.

    Its help lists them in ``sections``, by title; without these in one.
    """
    maker = typer.Typer(
        cls=_Commands,
        help=help_text,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        add_completion=options is not None,
        rich_markup_mode=None,
    )
    maker.callback()(options or _no_options)
    group = typer.main.get_command(maker)
    assert isinstance(group, _Commands)
    group.places = places
    group.sections = {title: tuple(names) for title, names in (sections or {"Commands": places}).items()}
    group.commands = _Imported(places)  # type: ignore[assignment]  # it is only read
    return group


def _no_options() -> None: ...


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        typer.echo(f"nas {version('nas')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


SECTIONS: Mapping[str, Mapping[str, str | _Commands]] = {
    "Search": {
        "search": "nas.cli.search:search",
        "shrink": "nas.cli.search:shrink",
        "retrain": "nas.cli.runs.retrain:retrain",
        "solve": "nas.cli.runs.solve:solve",
        "list": "nas.cli.list_names:list_names",
    },
    "Look at runs": {
        "show": "nas.cli.runs.show:show",
        "report": "nas.cli.runs.report:report",
        "serve": "nas.cli.runs.serve:serve",
        "workers": "nas.cli.runs.workers:workers",
        "plot": "nas.cli.runs.plot:plot",
        "export": "nas.cli.runs.export:export",
    },
    "Ship winners": {
        "bundle": _group(
            "Export winners in other forms, and check bundles.",
            {"export": "nas.cli.bundle.export:export", "verify": "nas.cli.bundle.verify:verify"},
        ),
        "drift": "nas.cli.runs.drift:drift",
    },
    "Devices": {
        "measure": "nas.cli.measure:measure",
        "target": _group(
            "List, describe and install what models can be measured on.",
            {
                "list": "nas.cli.target:list_targets",
                "show": "nas.cli.target:show_target",
                "install": "nas.cli.target:install_target",
            },
        ),
        "device": _group(
            "Add, describe and set up the machines that measure, beside this one.",
            {
                "add": "nas.cli.device:add",
                "list": "nas.cli.device:list_devices",
                "show": "nas.cli.device:show",
                "doctor": "nas.cli.device:doctor",
                "install": "nas.cli.device:install",
                "remove": "nas.cli.device:remove",
            },
        ),
    },
    "Predictors": {
        "predictor": _group(
            "Check predictors, and extend tables to new targets.",
            {"report": "nas.cli.predictor.report:report", "onboard": "nas.cli.predictor.onboard:onboard"},
        ),
    },
}
"""The commands, by the title under which ``nas --help`` lists them."""
app = _group(
    "Search for neural networks that are accurate and fast on this machine.\n\n"
    "Every winner is trained, exported and measured here. Begin with: nas search --data digits",
    {name: place for section in SECTIONS.values() for name, place in section.items()},
    _options,
    SECTIONS,
)


def main() -> None:
    """Run the command. A foreseen failure is printed as one message, and the exit status tells its kind.

    ``nas.signals`` says what happens at Ctrl-C and other signals.
    """
    _check_streams()
    with stopping(ends_process=True):
        _run()


def _run() -> None:
    try:
        status = app.main(prog_name="nas", standalone_mode=False)
        sys.stdout.flush()
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except (KeyboardInterrupt, InterruptedByUserError, typer.Abort) as error:
        heed()
        _say_stopped(error)
        sys.exit(next((each.status for each in (error, error.__cause__) if isinstance(each, Stopped)), INTERRUPTED))
    except NasError as error:
        _complain(f"error: {error}", error)
        if "--json" in sys.argv:
            print_json({"error": {"code": error.code, "message": str(error)}})
        sys.exit(STOPPED if isinstance(error, LimitError | RepeatedFailureError) else REFUSED)
    except BrokenPipeError:  # the reader of the output has closed it, as in ``nas show … | head``
        _drop_output()
        sys.exit(STOPPED)
    except OSError as error:
        _drop_output()
        _complain(f"error: a file could not be read or written: {error}", error)
        sys.exit(REFUSED)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # ``nas`` alone asks what there is
            typer.echo(error.ctx.get_help())  # type: ignore[attr-defined]
            sys.exit(0)
        if type(error).__module__.partition(".")[0] in ("click", "typer") and hasattr(error, "format_message"):
            _complain(f"error: {_usage_text(error)}", error)
            sys.exit(REFUSED)
        raise
    sys.exit(status if isinstance(status, int) else 0)


def _usage_text(error: Any) -> str:
    """Return what is wrong with the command line, with the value of the option that is refused."""
    text = " ".join(error.format_message().split())
    for option in getattr(getattr(error, "param", None), "opts", ()):
        for word, following in pairwise([*sys.argv, ""]):
            if word == option:
                return f"{text.rstrip('.')}, but got {following!r}."
            if word.startswith(f"{option}="):
                return f"{text.rstrip('.')}, but got {word.partition('=')[2]!r}."
    return text


def _say_stopped(error: BaseException) -> None:
    """Say that a signal has stopped the command. A note tells how to go on, where finished work is kept."""
    kept = bool(_notes(error))
    _complain(
        "Stopped. All finished work is kept." if kept else "Stopped. To go on, run the same command again.", error
    )


def _check_streams() -> None:
    """Refuse to work without standard output, and replace closed input and errors.

    A file that is opened later would get the number of a closed stream, and what is printed would end up in it.
    """
    for number in (0, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        _complain("error: standard output must be open, but it is closed. To see nothing, append: > /dev/null", None)
        sys.exit(REFUSED)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a redirected output may lack some characters


def _drop_output() -> None:
    """Let what is still to be printed vanish, or Python would complain at its end that it cannot be printed."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(text: str, error: BaseException | None) -> None:
    """Print a message and the notes of the error on standard error."""
    for line in (text, *_notes(error)):
        typer.echo(line, err=True)


def _notes(error: BaseException | None) -> list[str]:
    if error is None:
        return []
    return [*getattr(error, "__notes__", ()), *getattr(error.__cause__, "__notes__", ())]


if __name__ == "__main__":
    main()
