"""``nas device``: the machines on which models are measured, beside this one."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from nas.cli import options
from nas.cli.output import print_json
from nas.errors import RecipeError, TargetError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nas.hardware.devices.registry import DeviceRecord


def add(
    name: options.DeviceName,
    url: options.DeviceUrl,
    python: options.DevicePython = "python3",
    folder: options.DeviceFolder = "",
) -> None:
    """Add a device under a name, and look at what is there.

    Nothing is put there yet: nas device install does that. An address is ssh://USER@HOST, and ssh is yours, with your
    keys and known hosts. Where a host is not known yet, ssh shows its key and asks. For a board without Python it is
    "command:PROGRAM ARGUMENTS", a program of yours that takes a model file and prints milliseconds.

    Devices of one kind can share the work: pool:pi1,pi2 is an address that names devices which were added.
    """
    from nas.hardware.devices.describing import description_of
    from nas.hardware.devices.named import added_device, has_python
    from nas.hardware.devices.pool import Pool
    from nas.hardware.devices.registry import POOL, DeviceRecord, devices, save
    from nas.hardware.devices.requirements import why_unfit
    from nas.values.target import check_device_name

    check_device_name(name)
    if any(each.name == name for each in devices()):
        raise RecipeError(
            f"a device must have a name of its own, but {name} is one. Remove it: nas device remove {name}."
        )
    record = DeviceRecord(name, url, python, folder)
    if record.scheme == POOL:
        Pool(record)  # it names devices that were added
        save(record)
        _print(description_of(record))
        typer.echo(f"Next: nas device doctor {name}")
        return
    board = added_device(record)
    try:
        found = board.look()
    except TargetError as error:
        introduction = board.introduction
        if introduction is None or "not known yet" not in str(error) or not sys.stdin.isatty():
            raise
        if subprocess.run(introduction, check=False).returncode != 0:  # noqa: S603 ssh, which asks the user
            raise
        found = board.look()
    record = replace(record, found=found)
    problem = why_unfit(found) if has_python(record) else ""
    if problem:
        raise TargetError(f"{name} was not added, because it cannot measure yet: {problem}.")
    save(record)
    _print(description_of(record))
    typer.echo(f"Next: nas device {'install' if has_python(record) else 'doctor'} {name}")


def list_devices(as_json: options.AsJson = False) -> None:
    """List the devices that were added."""
    from nas.hardware.devices import describing
    from nas.hardware.devices.registry import devices

    known = devices()
    if as_json:
        print_json([describing.as_json(each) for each in known])
        return
    for each in known:
        ready = each.found.get("identity") or ", ".join(sorted(each.packages))
        typer.echo(f"{each.name}  {each.url}  {ready or 'nothing installed yet'}")
    if not known:
        typer.echo("No device was added. Models are measured on this machine. Add one: nas device add pi ssh://pi@HOST")


def show(name: options.DeviceName, as_json: options.AsJson = False) -> None:
    """Show what is known of a device, without asking it."""
    from nas.hardware.devices import describing
    from nas.hardware.devices.registry import known

    record = known(name)
    if as_json:
        print_json(describing.as_json(record))
        return
    _print(describing.description_of(record))


def doctor(name: options.DeviceName) -> None:
    """Look at a device, or at each of a pool, and tell what works there and what is in the way."""
    from nas.hardware.devices.describing import findings
    from nas.hardware.devices.registry import members_of

    members, fine = members_of(name), True
    for member in members:
        try:
            found = findings(member)
        except TargetError as error:
            if len(members) == 1:
                raise
            found = [("reached", str(error), False)]
        if len(members) > 1:
            typer.echo(member.name)
        _print([(title, text if is_fine else f"✗ {text}") for title, text, is_fine in found])
        fine = fine and all(is_fine for *_, is_fine in found)
    if not fine:
        raise typer.Exit(1)
    typer.echo(f"{name} is ready. {_next(replace(members[0], name=name))}")


def install(name: options.DeviceName, runtimes: options.DeviceRuntimes = None) -> None:
    """Put on a device, or on each of a pool, what it needs to measure: packages, found here and sent there.

    Without a RUNTIME it gets all that it can have, and for which this machine converts models. The device needs no pip,
    no compiler and no network. All goes into one folder there.
    """
    from nas.hardware.devices.installing import install
    from nas.hardware.devices.registry import members_of

    for member in members_of(name):
        record = install(member, runtimes or [], typer.echo)
    typer.echo(_next(replace(record, name=name)))


def remove(name: options.DeviceName, keep_files: options.KeepFiles = False) -> None:
    """Forget a device, and remove what was put there. The devices of a pool stay as they are."""
    from nas.hardware.devices.named import added_device
    from nas.hardware.devices.registry import POOL, forget, known

    record = known(name)
    if record.scheme == POOL:
        keep_files = True
    if not keep_files:
        try:
            added_device(record).clear()
        except TargetError as error:
            raise TargetError(f"{error} To forget it all the same: nas device remove {name} --keep-files.") from error
    forget(name)
    typer.echo(f"{name} is forgotten{'' if keep_files else ', and its files are removed'}.")


def _next(record: DeviceRecord) -> str:
    """Return how to measure on a device, by a runtime that it has. A program of the user's has all."""
    runtime = next(
        (each for each in ("onnxruntime-cpu", *record.packages) if each in record.packages), "onnxruntime-cpu"
    )
    return f"Measure there: nas measure model.onnx --target {record.name}/{runtime}"


def _print(pairs: Iterable[tuple[str, str]]) -> None:
    from rich.console import Console

    from nas.reports.console import print_pairs

    print_pairs(pairs, Console(file=sys.stdout))
