"""The command ``nas``: its commands, its exit statuses, and how it prints errors.

Each command imports what it needs when it runs, so that ``nas --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from itertools import pairwise
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nas.cli.bundle.export import export as export_in_form
from nas.cli.bundle.verify import verify
from nas.cli.list_names import list_names
from nas.cli.measure import measure
from nas.cli.plug_in_summaries import first_sentence
from nas.cli.predictor.onboard import onboard
from nas.cli.predictor.report import report as report_on_predictor
from nas.cli.runs.drift import drift
from nas.cli.runs.export import export
from nas.cli.runs.plot import plot
from nas.cli.runs.report import report
from nas.cli.runs.retrain import retrain
from nas.cli.runs.serve import serve
from nas.cli.runs.show import show
from nas.cli.runs.solve import solve
from nas.cli.search import search, shrink
from nas.cli.target import target_commands
from nas.errors import LimitError, NasError, RepeatedFailureError
from nas.signals import Stopped, check, heed, stopping

REFUSED, STOPPED, INTERRUPTED = 2, 1, 130
"""Exit statuses: the request is wrong; the run stopped early; Ctrl-C. Other signals have 128 and their number."""


class InterruptedByUserError(Exception):
    """A signal. Typer would turn a KeyboardInterrupt into a status that depends on its version, and drop its notes."""


class _Commands(TyperGroup):
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands with their whole first sentences. Typer would cut them to one line."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, first_sentence(command.help or "")) for name, command in commands if command])

    def invoke(self, ctx: Any) -> Any:
        try:
            try:
                return super().invoke(ctx)
            except Exception:
                check()  # a library may have turned a signal into an error
                raise
        except KeyboardInterrupt as error:
            raise InterruptedByUserError from error


app = typer.Typer(
    name="nas",
    cls=_Commands,
    help="Search for neural networks that are accurate and fast on this machine.\n\n"
    "Every winner is trained, exported and measured here. Begin with: nas search --data digits",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
predictor_commands = typer.Typer(
    help="Check predictors, and extend tables to new targets.", no_args_is_help=True, rich_markup_mode=None
)
bundle_commands = typer.Typer(
    help="Export winners in other forms, and check bundles.", no_args_is_help=True, rich_markup_mode=None
)

app.command()(search)
app.command()(shrink)
app.command()(show)
app.command()(report)
app.command()(serve)
app.command()(plot)
app.command()(export)
app.command()(solve)
app.command()(retrain)
app.command()(drift)
app.command("list")(list_names)
app.command()(measure)
app.add_typer(target_commands, name="target", cls=_Commands)
app.add_typer(predictor_commands, name="predictor", cls=_Commands)
app.add_typer(bundle_commands, name="bundle", cls=_Commands)
bundle_commands.command("export")(export_in_form)
bundle_commands.command()(verify)
predictor_commands.command("report")(report_on_predictor)
predictor_commands.command()(onboard)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"nas {version('nas')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command. A foreseen failure is printed as one message, and the exit status tells its kind.

    ``nas.signals`` says what happens at Ctrl-C and other signals.
    """
    _check_streams()
    with stopping(ends_process=True):
        _run()


def _run() -> None:
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except (KeyboardInterrupt, InterruptedByUserError, typer.Abort) as error:
        heed()
        _say_stopped(error)
        sys.exit(next((each.status for each in (error, error.__cause__) if isinstance(each, Stopped)), INTERRUPTED))
    except NasError as error:
        _complain(f"error: {error}", error)
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
