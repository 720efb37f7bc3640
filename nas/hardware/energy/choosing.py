"""The choice of a meter from settings, such as those of a recipe."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import RecipeError, TargetError, did_you_mean
from nas.hardware.energy.commands import CommandLogMeter
from nas.hardware.energy.counters import POWERCAP, CommandCounter, CounterMeter, NvmlCounter, RaplCounter
from nas.hardware.energy.metering import REAL_TIME, Meter, NoMeter, Timer

KINDS = ("auto", "none", "rapl", "nvml", "command")
FORMATS = ("joules", "csv")


def meter_from(settings: Mapping[str, Any], timer: Timer = REAL_TIME) -> Meter:
    """Return the meter for settings given as plain JSON data.

    ``kind`` is *none*, *rapl*, *nvml*, *command* or *auto*. *auto* is NVML where ``gpu`` is set and RAPL otherwise; if
    that instrument is missing, it returns a NoMeter with the reason. ``gpu`` is CUDA's index in this process, or a
    UUID, or None for a model on the processor. ``command`` is a list of arguments, and its ``format`` is *joules* (see
    ``CommandCounter``) or *csv* (see ``CommandLogMeter``). ``root`` is the folder in which RAPL is looked for.

    Raises:
        RecipeError: a setting is unknown or missing.
        TargetError: the instrument named by ``kind`` cannot be used.
    """
    known = ("kind", "command", "format", "root", "gpu")
    for key in settings:
        if key not in known:
            raise RecipeError(f"settings of a meter are {', '.join(known)}, but got {key!r}.")
    kind = settings.get("kind", "auto")
    root, gpu = Path(settings.get("root") or POWERCAP), settings.get("gpu")
    match kind:
        case "none":
            return NoMeter("the recipe names no meter.", timer)
        case "rapl":
            try:
                return CounterMeter(RaplCounter(root), timer)
            except TargetError as error:
                raise TargetError(f"{error} Or name a command that reads an instrument of your own.") from error
        case "nvml":
            return CounterMeter(NvmlCounter(_nvml_gpu(0 if gpu is None else gpu)), timer)
        case "command":
            return _command_meter(settings.get("command"), settings.get("format", "joules"), timer)
        case "auto":
            try:
                return CounterMeter(RaplCounter(root) if gpu is None else NvmlCounter(_nvml_gpu(gpu)), timer)
            except TargetError as error:
                return NoMeter(str(error), timer)
    raise RecipeError(f"kind of a meter is one of {KINDS}, but got {kind!r}. {did_you_mean(str(kind), KINDS)}")


def _nvml_gpu(gpu: int | str) -> int | str:
    """Return NVML's name for CUDA's ``gpu``: NVML counts all GPUs, CUDA only those in CUDA_VISIBLE_DEVICES."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if isinstance(gpu, str) or not visible:
        return gpu
    entries = [entry.strip() for entry in visible.split(",")]
    if gpu >= len(entries):
        raise TargetError(f"GPU {gpu} must be in CUDA_VISIBLE_DEVICES, but that is {visible!r}.")
    return int(entries[gpu]) if entries[gpu].isdecimal() else entries[gpu]


def _command_meter(arguments: object, printed: object, timer: Timer) -> Meter:
    if not isinstance(arguments, list | tuple) or not arguments or not all(isinstance(a, str) for a in arguments):
        raise RecipeError(f"command of a meter is a list of arguments, the program first, but got {arguments!r}.")
    if printed not in FORMATS:
        raise RecipeError(f"format of a meter's command is one of {FORMATS}, but got {printed!r}.")
    return CounterMeter(CommandCounter(arguments), timer) if printed == "joules" else CommandLogMeter(arguments, timer)
