"""Bad predictors and samplers: options and values, tables that they learn from, and reports on them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

from bad_inputs.bad_input import BadInput
from table_space import Chain, write_table

from nas.space.search_space import enumerate_space

CHAIN = ("--space", "table_space:Chain", "--input-shape", "1x8x8")
REPORT = ("predictor", "report", "t.csv", *CHAIN)
ONBOARD = ("predictor", "onboard", "--table", "t.csv", "--target", "onnxruntime-cpu", *CHAIN)
SEARCH = (
    *("search", "--evaluate", "table", "--executor", "inline", "--space", "table_space:Chain", "--trials", "4"),
    *("--set", "table.path=t.csv.gz", "--set", "table.accuracy=val_acc", "--set", "table.device=toy"),
    *("--set", "table.input_shape=[1,8,8]"),
)


def table(**columns: Callable[[int], object]) -> Callable[[Path], object]:
    """Return what writes a table of all chains; each column's values are told by the number of the row."""

    def write(folder: Path) -> None:
        names = [choice.name for choice in Chain.choices]
        with (folder / "t.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([*names, *columns])
            for number, chain in enumerate(enumerate_space(Chain())):
                options = [choice.options.index(chain[choice.name]) for choice in Chain.choices]
                writer.writerow([*options, *(value(number) for value in columns.values())])

    return write


def searched(folder: Path) -> None:
    """Write the table of a search."""
    write_table(folder / "t.csv.gz")


def plug_in(text: str, prepare: Callable[[Path], object] = searched) -> Callable[[Path], object]:
    """Return what writes a module ``mine`` of the user's own, beside a table."""

    def write(folder: Path) -> None:
        prepare(folder)
        (folder / "mine.py").write_text(text)

    return write


def search(*flags: str, says: str, prepare: Callable[[Path], object] = searched) -> BadInput:
    """Return a search in a table that is refused."""
    return BadInput((*SEARCH, *flags), (says,), prepare)


def report(*flags: str, says: str, prepare: Callable[[Path], object]) -> BadInput:
    """Return a report on the device ``toy`` of a table that is refused."""
    return BadInput((*REPORT, *flags), (says,), prepare)


FIVE: Mapping[str, Callable[[int], object]] = {"latency_ms_toy": lambda row: row + 1 if row < 5 else ""}
SOUND = table(latency_ms_toy=lambda row: 1 + row / 100, latency_ms_other=lambda row: 2 + row / 100)
NAN = (
    "import numpy as np\nfrom dataclasses import replace\nfrom predictors.gp import fit_gp\n\n"
    "class Mine:\n    def __init__(self, inner):\n        self.inner = inner\n"
    "        self.held_out, self.held_out_predictions = inner.held_out, inner.held_out_predictions\n"
    "    def predict(self, architectures):\n        found = self.inner.predict(architectures)\n"
    "        return replace(found, mean=found.mean * np.nan)\n"
    "    predict_described = predict\n\n"
    "def fit(*arguments, **named):\n    return Mine(fit_gp(*arguments, **named))\n"
)
SAMPLER = (
    "import optuna\n\nclass Mine(optuna.samplers.RandomSampler):\n"
    "    def __init__(self, describer, **named):\n        super().__init__(seed=0)\n"
    "    def sample_independent(self, *arguments):\n"
)

BAD_INPUTS = {
    "an unknown predictor": search("--set", "predictor.name=gpp", says="unknown predictor 'gpp'"),
    "an option that no predictor has": search("--set", "predictor.depth=3", says="'stacked' has no option 'depth'"),
    "an option that the search itself gives": search("--set", "predictor.seed=3", says="has no option 'seed'"),
    "a predictor that is a number": search("--set", "predictor=math:pi", says="a predictor must be a function"),
    "a predictor that raises": search(
        *("--set", "predictor=mine:fit"),
        says="the predictor 'mine:fit' failed when it was fitted: ZeroDivisionError: division by zero",
        prepare=plug_in("def fit(space, architectures, values, *, target, sources=(), given=(), seed):\n    1 / 0\n"),
    ),
    "a predictor that returns nothing": search(
        *("--set", "predictor=mine:fit"),
        says="'mine:fit' returned a NoneType",
        prepare=plug_in("def fit(*arguments, **named):\n    pass\n"),
    ),
    "a predictor that predicts no number": search(
        *("--set", "predictor=mine:fit"),
        says="a predicted value must be positive and finite, and within its bounds, but 'mine:fit' predicted nan",
        prepare=plug_in(NAN),
    ),
    "a seed beyond 32 bits": report(
        *("--predictor", "trees", "--seed", "99999999999"),
        says="less than or equal to 4294967295",
        prepare=table(**FIVE),
    ),
    "an unknown sampler": search("--sampler", "gpu", says="unknown sampler 'gpu'"),
    "a sampler without a name": search("--sampler", "", says="unknown sampler ''"),
    "an option that a sampler does not have": search(
        *("--sampler", "tpe", "--set", "sampler.startup=3"), says="sampler 'tpe' has no option 'startup'"
    ),
    "an option of a sampler that is a text": search(
        *("--set", "sampler.name=tpe", "--set", "sampler.startup_trials=many"), says="startup_trials"
    ),
    "a negative option of a sampler": search(
        *("--set", "sampler.name=tpe", "--set", "sampler.startup_trials=-1"), says="startup_trials"
    ),
    "a population of one": search(*("--set", "sampler.name=nsga2", "--set", "sampler.population=1"), says="population"),
    "a population of two and a half": search(
        *("--set", "sampler.name=nsga3", "--set", "sampler.population=2.5"), says="population"
    ),
    "a population that is true": search(
        *("--set", "sampler.name=nsga2", "--set", "sampler.population=true"), says="population"
    ),
    "a sampler that is a number": search("--sampler", "math:pi", says="a sampler must be a function, or a class"),
    "a sampler that returns none": search(
        *("--sampler", "mine:make"),
        says="a sampler must be one of Optuna's, but 'mine:make' returned a NoneType",
        prepare=plug_in("def make(describer, **named):\n    pass\n"),
    ),
    "a sampler that raises": search(
        *("--sampler", "mine:Mine"),
        says="the sampler 'mine:Mine' failed to propose: KeyError: 'lost'",
        prepare=plug_in(f"{SAMPLER}        raise KeyError('lost')\n"),
    ),
    "a sampler that proposes no option of the space": search(
        *("--sampler", "mine:Mine"),
        says="the sampler 'mine:Mine' failed to propose",
        prepare=plug_in(f"{SAMPLER}        return 'huge'\n"),
    ),
    "a report on a file that is not there": BadInput(REPORT, ("t.csv does not exist",)),
    "a report on four values": report(
        says="has 4", prepare=table(latency_ms_toy=lambda row: row + 1 if row < 4 else "")
    ),
    "a report on a negative latency": report(
        says="must be positive, but row 2 holds -1", prepare=table(latency_ms_toy=lambda row: 1 - 2 * row)
    ),
    "a report on a text": report(says="but row 1 holds 'fast'", prepare=table(latency_ms_toy=lambda row: "fast")),
    "a report on a device that the table lacks": report("--target", "tou", says="but got 'tou'", prepare=SOUND),
    "a report on one of two devices": report(says="has 2 devices: name one with --target", prepare=SOUND),
    "a report on a metric that is counted": report(
        *("--target", "toy", "--metric", "params"), says="params", prepare=SOUND
    ),
    "a report with a limit on another metric": report(
        *("--target", "toy", "--limit", "energy_mj<=3mJ"),
        says="a limit must be on a reported metric",
        prepare=SOUND,
    ),
    "a report with the target among its sources": report(
        *("--target", "toy", "--sources", "toy"), says="sources must be other devices than the target", prepare=SOUND
    ),
    "a report with an unknown source": report(
        *("--target", "toy", "--sources", "othre"), says="'latency_ms_othre'", prepare=SOUND
    ),
    "a report with a source of three values": report(
        *("--target", "toy", "--sources", "other"),
        says="a source must have at least 5 values",
        prepare=table(latency_ms_toy=lambda row: 1 + row, latency_ms_other=lambda row: 1 if row < 3 else ""),
    ),
    "a report with a source named twice": report(
        *("--target", "toy", "--sources", "other,other"), says="each comes once, as in a,b", prepare=SOUND
    ),
    "a report with a nameless source": report(
        *("--target", "toy", "--sources", "other,,"), says="separated by commas", prepare=SOUND
    ),
    "a report by a class of another kind": report(
        *("--predictor", "predictors.gp:GpModel"), says="a predictor must be a function", prepare=table(**FIVE)
    ),
    "a report by an unknown predictor": report(
        *("--target", "toy", "--predictor", "stakced"), says="unknown predictor 'stakced'", prepare=SOUND
    ),
    "a report onto a folder": report(*("--out", "."), says="--out takes the name of a file", prepare=table(**FIVE)),
    "onboarding from four samples": BadInput((*ONBOARD, "--samples", "4"), ("--samples must be at least 5",), SOUND),
    "onboarding into a text file": BadInput((*ONBOARD, "--out", "new.txt"), ("but got 'new.txt'",), SOUND),
    "onboarding onto a folder": BadInput((*ONBOARD, "--report", "."), ("--report takes the name of a file",), SOUND),
    "onboarding a counted metric": BadInput((*ONBOARD, "--metric", "params"), ("params",), SOUND),
    "onboarding a metric that no device has": BadInput(
        (*ONBOARD, "--space", "mine:Chain", "--metric", "energy_mj"),  # one of the project would be built
        ("needs the energy_mj of another device",),
        plug_in("from table_space import Chain\n", SOUND),
    ),
}
