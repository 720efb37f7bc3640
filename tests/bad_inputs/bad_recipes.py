"""Bad recipes: files that are none, keys that are nowhere, and values of another kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from bad_inputs.bad_input import BadInput

RECIPE = "recipe.toml"


def written(content: bytes) -> Callable[[Path], object]:
    """Return what writes the recipe."""
    return lambda here: (here / RECIPE).write_bytes(content)


def recipe(content: str, *says: str, lines: int = 3) -> BadInput:
    """Return the case of a recipe with this text."""
    return BadInput(("search", RECIPE, "--dry-run"), says, written(content.encode()), most_lines=lines)


def given(*settings: str, says: tuple[str, ...]) -> BadInput:
    """Return the case of these settings on the command line."""
    return BadInput(("search", "--dry-run", *(word for each in settings for word in ("--set", each))), says)


def loop(here: Path) -> None:
    """Make a recipe that is a link to itself."""
    (here / RECIPE).symlink_to(RECIPE)


BAD_INPUTS = {
    "a named pipe": BadInput(
        ("search", RECIPE),
        ("a recipe is a TOML file, but recipe.toml is a named pipe",),
        lambda here: os.mkfifo(here / RECIPE),
    ),
    "a link to itself": BadInput(("search", RECIPE), ("recipe.toml cannot be opened: Too many levels",), loop),
    "a folder": BadInput(("search", "."), ("a recipe is a TOML file, but . is a folder",)),
    "a device": BadInput(("search", "/dev/zero"), ("/dev/zero is a device",)),
    "a name that is too long": BadInput(("search", "a" * 5000), ("cannot be opened: File name too long",)),
    "bytes that are no text": BadInput(
        ("search", RECIPE), ("recipe.toml is in another encoding:", "Save it as UTF-8"), written(b"\xff\xfe\x00")
    ),
    "a recipe that PowerShell wrote": BadInput(
        ("search", RECIPE), ("a TOML file in UTF-8", "Save it as UTF-8"), written('data = "digits"'.encode("utf-16"))
    ),
    "a number of thousands of digits": recipe("trials = " + "9" * 5000, "recipe.toml is not:", "digits"),
    "brackets within brackets": recipe("limits = " + "[" * 50_000, "recipe.toml is nested too deeply"),
    "JSON": recipe('{"trials": 3}', "recipe.toml is not:"),
    "a key of another section": recipe("epochs = 4", "no key 'epochs'. Did you mean 'training.epochs' or"),
    "a section that is a number": recipe("training = 4", "training: input should be a table of keys, but got 4"),
    "a list of tables": recipe("[[training]]\nepochs = 4", "training: input should be a table of keys"),
    "one limit that is no list": recipe('limits = "macs <= 1M"', "limits: input should be a list"),
    "a limit that is a number": recipe("limits = [60]", "limits.0: input should be a valid string, but got 60"),
    "a truth for a number": recipe("trials = true", "trials: must be a number, but got true"),
    "a number for a truth": recipe("[training]\naugment = 1", "training.augment: must be true or false"),
    "a word for a truth": recipe('[early_stopping]\nenabled = "no"', "must be true or false, but got 'no'"),
    "a text for a number": recipe('trials = "5"', "trials: must be a number, but got '5'"),
    "a date": recipe("trials = 2026-01-01", "trials: must be a number"),
    "no number": recipe("[training]\nlearning_rate = nan", "should be a finite number"),
    "26 digits": recipe("trials = 12345678901234567890123456", "trials: must be at most 1000000000", "26 digits"),
    "a seed of 33 bits": recipe("seed = 4294967296", "seed: must be at most 4294967295"),
    "a seed below zero": recipe("seed = -1", "seed: input should be greater than or equal to 0"),
    "a time of a text without unit": recipe('search_time_s = "15"', "a time needs a unit: write 15s, 15min or 15h"),
    "a NUL in a path": recipe('data = "folder:a\\u0000b"', "data.name: must be text in UTF-8 without NUL"),
    "a value of a thousand letters": recipe(f'evaluate = "{"x" * 1000}"', "unknown value", "(1002 characters)"),
    "more mistakes than one": recipe("trails = 1\nseed = -1\nrounds = 0", "Did you mean 'trials'?", "seed:", "rounds:"),
    "a name with a slash": recipe('name = "a/b"', "name: string should match pattern"),
    "a target of many threads": recipe('target = "onnxruntime-cpu:threads=99999999"', "must have at most 6 digits"),
    "a target with a space": recipe('target = "onnxruntime cpu"', "a target starts with the name of a runtime"),
    "a table without use": recipe('[table]\npath = "t.csv"', "set evaluate=table, or leave the path out"),
    "a truth on the command line": given("trials=true", says=("trials: must be a number, but got true",)),
    "a line break on the command line": given(
        "trials=3\nseed=4", says=("trials: must be a number, but got '3\\nseed=4'",)
    ),
    "a comment on the command line": given("trials=3 # not many", says=("trials: must be a number",)),
    "two values on the command line": given("trials=3, 4", says=("trials: must be a number, but got '3, 4'",)),
    "no value on the command line": given("trials=", says=("trials: must be a number, but got ''",)),
    "no key on the command line": given("=3", says=("--set takes key=value, such as training.epochs=4",)),
    "dots alone on the command line": given("..=3", says=("a recipe has no key",)),
    "a key within a number": given("trials=3", "trials.x=4", says=("'trials' is not a table but 3",)),
    "a key of one of its sections": given("epochs=4", says=("Did you mean 'training.epochs' or",)),
}
