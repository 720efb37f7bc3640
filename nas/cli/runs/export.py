"""``nas export``: a run in the form of another tool."""

from __future__ import annotations

import sys

import typer

from nas.cli import options
from nas.cli.output import tell_damages
from nas.cli.runs import run_options
from nas.paths import RUNS

STANDARD_OUTPUT = "-"


def export(run: options.RunFolder, form: run_options.Form, out: run_options.ExportPlace = None) -> None:
    """Write a run as a table, or in the form of another tool, and print where it lies.

    nas list says what each form is. Some need an extra, which a message names. The run may still be going on.
    """
    from nas.results.exports.export import load_export
    from nas.results.exports.exporting import content_of, export as write
    from nas.results.run_folder import read_run, run_folder_of

    load_export(form)
    run = run_folder_of(run, RUNS)
    found = read_run(run)
    if out == STANDARD_OUTPUT:
        sys.stdout.buffer.write(content_of(found, form))
        sys.stdout.buffer.flush()
        tell_damages(found)
        return
    written = write(found, form, out)
    typer.echo(written.place)
    if written.opened_by is not None:
        typer.echo(f"Open it with: {written.opened_by}")
    for note in written.notes:
        if note not in found.damages_in_short:
            typer.echo(note, err=True)
    tell_damages(found)
