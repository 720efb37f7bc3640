"""Series in the text format .ts of the UCR and UEA archives, as aeon and sktime write it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nas.errors import DataError
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.recordings import Recording, check_file
from nas.tasks.signals.labelled import Labelled

_TRAIN, _TEST = "_train.ts", "_test.ts"


def read_ts(path: Path, rate: int | None) -> list[Labelled]:
    """Return the series in a .ts file, and those of the test file that lies beside a file called …_TRAIN.ts.

    Labels are text, or numbers if they are values. Raises DataError, with the line, if it is no such file.
    """
    if not path.name.lower().endswith(_TRAIN):
        return _read(path, rate, None)
    named = path.name.lower()[: -len(_TRAIN)] + _TEST
    tests = [each for each in path.parent.iterdir() if each.name.lower() == named][:1]
    return [
        *_read(path, rate, "train" if tests else None),
        *(each for test in tests for each in _read(test, rate, "test")),
    ]


def _read(path: Path, rate: int | None, split: str | None) -> list[Labelled]:
    try:
        check_file(path)
        lines = path.read_text(encoding="utf-8").splitlines()
    except InputError as error:
        raise DataError(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as .ts: {error}") from error
    header = {}
    start = len(lines)
    for number, line in enumerate(lines):
        words = line.strip().split()
        if words and words[0].lower() == "@data":
            start = number + 1
            break
        if words and words[0].startswith("@"):
            header[words[0].lower()] = [word.lower() for word in words[1:]]
    is_value = header.get("@targetlabel", ["false"])[0] == "true"
    if header.get("@timestamps", ["false"])[0] == "true" or not (is_value or "@classlabel" in header):
        raise DataError(f"{path} must be a .ts file without time stamps and with classes or values, but it is not.")
    found = []
    for number, line in enumerate(lines[start:], start + 1):
        if not line.strip():
            continue
        *channels, label = line.strip().split(":")
        where = f"{path}, line {number}"
        try:
            rows = [np.array(channel.split(","), dtype=np.float64) for channel in channels]
            target = float(label) if is_value else label.strip()
        except ValueError as error:
            raise DataError(f"series and their values must be finite numbers, but in {where}: {error}") from error
        if not rows or len({len(row) for row in rows}) > 1:
            raise DataError(
                f"channels of a series must have the same length, but got {[len(r) for r in rows]} in {where}."
            )
        samples = np.stack(rows)
        if not np.isfinite(samples).all():
            raise DataError(f"series must be finite numbers, but there is a missing or infinite one in {where}.")
        found.append(
            Labelled(
                Recording(samples.astype(np.float32), rate),
                target,
                path,
                split,
                moments=np.array(number),
                place=f" in line {number}",
            )
        )
    if not found:
        raise DataError(f"{path} must hold series below @data, but it has none.")
    return found
