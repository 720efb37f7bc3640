"""Bad command lines: commands, flags and values that make no sense."""

from __future__ import annotations

from pathlib import Path

from bad_inputs.bad_input import BadInput


def run_called_mine(here: Path) -> None:
    """Make the beginning of a run in the usual place."""
    (here / "runs" / "mine").mkdir(parents=True)
    (here / "runs" / "mine" / "recipe.toml").touch()


SPACE = ("measure", "--space", "nasbench201")
BAD_INPUTS = {
    "an unknown command": BadInput(("serach",), ("serach",)),
    "a command of another program": BadInput(("train",), ("No such command 'train'",)),
    "a flag without its value": BadInput(("search", "--trials"), ("--trials", "requires an argument")),
    "a flag that is cut": BadInput(("search", "--tri", "3"), ("--trials",)),
    "an empty name of a file": BadInput(("search", ""), ("a recipe is a TOML file, but . is a folder",)),
    "no runs at all": BadInput(("search", "--resume", ""), ("must be the folder of a run",)),
    "a name that is almost that of a run": BadInput(
        ("search", "--resume", "mien"), ("mien must be the folder of a run", "Did you mean runs/mine?"), run_called_mine
    ),
    "the name of a run that has no journal": BadInput(
        ("show", "mine"), ("runs/mine must be the folder of a run, but has no journal.db",), run_called_mine
    ),
    "a run whose name is misspelt": BadInput(("show", "runs/mien"), ("Did you mean runs/mine?",), run_called_mine),
    "a file instead of the folder of all runs": BadInput(
        ("show", "--runs", "file"),
        ("--runs must be a folder that holds run folders",),
        lambda here: (here / "file").touch(),
    ),
    "a seed of 33 bits": BadInput((*SPACE, "--seed", "4294967296"), ("--seed", "4294967295")),
    "a seed below zero": BadInput((*SPACE, "--seed", "-1"), ("--seed",)),
    "a count of nothing": BadInput((*SPACE, "--count", "0", "--out", "t.csv.gz"), ("--count",)),
    "a share that is no number": BadInput((*SPACE, "--within", "1%"), ("--within", "1%")),
    "one session": BadInput((*SPACE, "--max-rounds", "1"), ("--max-rounds",)),
    "one class": BadInput((*SPACE, "--classes", "1"), ("--classes",)),
    "architectures that are nowhere": BadInput(
        (*SPACE, "--architectures", "none.json"), ("--architectures takes a JSON file, ids", "none.json does not exist")
    ),
    "an architecture in words": BadInput((*SPACE, "--architectures", "{depth: 2}"), ("takes JSON, but the text",)),
    "an architecture of another space": BadInput(
        (*SPACE, "--architectures", '{"depth": 2}'), ("names the choice 'depth', which the space does not have",)
    ),
    "an id of no architecture": BadInput((*SPACE, "--architectures", "0123456789ab"), ("0123456789ab is of none",)),
    "a runtime of another device": BadInput(
        ("measure", "a.onnx", "--target", "onnxruntime-gpu"), ("unknown runtime 'onnxruntime-gpu'. Did you mean",)
    ),
    "a target in capitals": BadInput(
        ("target", "show", "ONNXRUNTIME"), ("a target starts with the name of a runtime",)
    ),
    "a runtime without packages of its own": BadInput(("target", "install", "torch-cpu"), ("but torch-cpu has none",)),
}
