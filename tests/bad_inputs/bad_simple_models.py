"""Bad requests for simple models: joined, ngram, rocket and boosted with data or options that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bad_inputs.bad_input import BadInput
from made_tables import people

DRY = ("--target", "onnxruntime-cpu", "--dry-run")


def digits(*settings: str, says: tuple[str, ...]) -> BadInput:
    """Return the case of a search for digits with these settings of the space."""
    return BadInput(("search", "--data", "digits", *DRY, *(w for each in settings for w in ("--set", each))), says)


def write_table(here: Path) -> None:
    people(120).to_csv(here / "people.csv", index=False)


def write_text(here: Path) -> None:
    (here / "a.txt").write_text("the cat sat on the mat, and so did I.\n" * 400)


def write_signals(here: Path, samples: int = 40) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 1, samples)).astype(np.float32), np.arange(120) % 2
    np.savez(here / "a.npz", signals=x, labels=y)


def table(*settings: str, says: tuple[str, ...]) -> BadInput:
    """Return the case of a search in a table of people."""
    arguments = ("search", "--task", "tables", "--data", "people.csv", "--set", "data.target=pay", *DRY)
    return BadInput((*arguments, *(w for each in settings for w in ("--set", each))), says, write_table)


def text(*settings: str, says: tuple[str, ...]) -> BadInput:
    """Return the case of a search in a text."""
    arguments = ("search", "--task", "text", "--set", "data.root={here}/cache", "--data", "a.txt", *DRY)
    return BadInput((*arguments, *(w for each in settings for w in ("--set", each))), says, write_text)


def signals(*settings: str, says: tuple[str, ...], samples: int = 40) -> BadInput:
    """Return the case of a search in signals."""
    arguments = ("search", "--task", "signals", "--data", "a.npz", *DRY)
    given = (w for each in settings for w in ("--set", each))
    return BadInput((*arguments, *given), says, lambda here: write_signals(here, samples))


JOINED = "space.name=joined"
BAD_INPUTS = {
    "joined without spaces": digits(JOINED, says=("search space 'joined' needs space.spaces",)),
    "joined of none": digits(
        JOINED, "space.spaces=[]", says=("spaces must be a list of at least two names that differ, but got []",)
    ),
    "joined of one": digits(
        JOINED,
        'space.spaces=["mobilenet"]',
        says=("spaces must be a list of at least two names that differ, but got ['mobilenet']",),
    ),
    "joined of the same twice": digits(
        JOINED,
        'space.spaces=["mobilenet", "mobilenet"]',
        says=("spaces must be a list of at least two names that differ, but got ['mobilenet', 'mobilenet']",),
    ),
    "joined of a text": digits(
        JOINED,
        "space.spaces=mobilenet",
        says=("spaces must be a list of at least two names that differ, but got 'mobilenet'",),
    ),
    "joined of numbers": digits(
        JOINED, "space.spaces=[1, 2]", says=("spaces must be a list of at least two names that differ, but got [1, 2]",)
    ),
    "joined of a misspelt space": digits(
        JOINED, 'space.spaces=["mobilenet", "mobilnet"]', says=("Did you mean 'mobilenet'?",)
    ),
    "joined within joined": digits(
        JOINED, 'space.spaces=["mobilenet", "joined"]', says=("search space 'joined' needs space.spaces",)
    ),
    "joined of a parent": digits(
        JOINED,
        'space.spaces=["mobilenet", "shrunk"]',
        says=("the space shrunk is made of a trained model, but got none",),
    ),
    "joined with a table": digits(
        JOINED,
        'space.spaces=["mobilenet", "table"]',
        says=("search space 'table' needs space.table and space.choices",),
    ),
    "joined of other data": digits(
        JOINED, 'space.spaces=["mobilenet", "ngram"]', says=("search space ngram takes texts",)
    ),
    "joined with options of another": digits(
        JOINED,
        'space.spaces=["mobilenet", "timm-vit"]',
        "space.options={mlp = {}}",
        says=("options must be those of mobilenet, timm-vit, but got some of 'mlp'",),
    ),
    "joined with an option that is none": digits(
        JOINED,
        'space.spaces=["mobilenet", "timm-vit"]',
        "space.options={mobilenet = {wings = 2}}",
        says=("'mobilenet' has no option 'wings'",),
    ),
    "joined with options that are a list": digits(
        JOINED,
        'space.spaces=["mobilenet", "timm-vit"]',
        "space.options=[1]",
        says=("options must be a table of options for each space, but got [1]",),
    ),
    "joined with options that are a number": digits(
        JOINED,
        'space.spaces=["mobilenet", "timm-vit"]',
        "space.options={mobilenet = 3}",
        says=("options must be a table of options for each space, but got {'mobilenet': 3}",),
    ),
    "joined with shared weights": digits(
        JOINED,
        'space.spaces=["mobilenet", "timm-vit"]',
        "evaluate=supernet",
        says=("'joined' has no method supernet()",),
    ),
    "n-grams for pictures": digits("space=ngram", says=("search space ngram takes texts",)),
    "n-grams for a table": table(
        "space=ngram",
        says=(
            "search space ngram takes texts",
            "Spaces that take them: boosted, mlp",
        ),
    ),
    "n-grams for signals": signals("space=ngram", says=("Spaces that take them: conv1d, rocket",)),
    "n-grams with an option": text(
        "space.name=ngram", "space.order=9", says=("'ngram' has no option 'order'. It takes no options",)
    ),
    "n-grams by shared weights": text("space=ngram", "evaluate=supernet", says=("'ngram' has no method supernet()",)),
    "n-grams by a training function": text(
        "space=ngram", "training.function=os:getcwd", says=("but 'os:getcwd' takes ()",)
    ),
    "kernels for pictures": digits("space=rocket", says=("search space rocket takes signals",)),
    "kernels for a text": text("space=rocket", says=("Spaces that take them: gpt, ngram",)),
    "kernels for a table": table("space=rocket", says=("search space rocket takes signals",)),
    "kernels for signals that are too short": signals(
        "space=rocket",
        samples=5,
        says=(
            "signals of at least 9 samples",
            "but got 5",
        ),
    ),
    "kernels with an option": signals(
        "space.name=rocket", "space.features=3", says=("'rocket' has no option 'features'",)
    ),
    "trees for pictures": digits("space=boosted", says=("search space boosted takes tables",)),
    "trees for a text": text("space=boosted", says=("search space boosted takes tables",)),
    "trees for signals": signals("space=boosted", says=("search space boosted takes tables",)),
    "trees with an option": table("space.name=boosted", "space.depth=40", says=("'boosted' has no option 'depth'",)),
    "trees by a supernet": table("space=boosted", "evaluate=supernet", says=("'boosted' has no method supernet()",)),
    "trees with a teacher": table(
        "space=boosted", "retraining.teacher=winner", says=("retraining.teacher is the folder of a winner",)
    ),
    "networks for a table's simple models": table(
        "space=mobilenet",
        says=(
            "mobilenet takes images",
            "Spaces that take them: boosted, mlp",
        ),
    ),
    # nothing is trained
    "no trials and shared weights": digits(
        "trials=0", "evaluate=supernet", says=("with trials = 0 models are measured and nothing else",)
    ),
    "no trials with a tracker": BadInput(
        ("search", "--data", "digits", "--trials", "0", "--track", "nothing", *DRY), ("unknown export 'nothing'",)
    ),
    "no trials of a training function": BadInput(
        ("search", "--data", "digits", "--trials", "0", "--train", "os:nothing", *DRY), ("os has no 'nothing'",)
    ),
    "no trials as a text": digits('trials="none"', says=("trials: must be a number, but got 'none'",)),
    "no trials, counted alone": digits(
        "trials=0", 'objectives=["params"]', says=("must be measured, such as latency_ms, but got params",)
    ),
    "no trials, error alone": digits(
        "trials=0", 'objectives=["error"]', says=("must be measured, such as latency_ms, but got error",)
    ),
}
