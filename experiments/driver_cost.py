"""``python -m experiments.driver_cost`` measures what decisions about trainings cost, and how that grows with the rows.

Rows of so many trainings are made up, of which a third were stopped early. The driver then decides if a training goes
on after each rung, and tells the sampler one training that was stopped, and all rows, as at a round's start and when a
run is resumed. Times are those of the processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

import nas
from experiments.command_line import heading, line, parser_of, positive
from nas.recipe.training_sections import EarlyStoppingRecipe
from nas.searching.beliefs import Beliefs
from nas.searching.sampler_feedback import known_losses, told
from nas.training.early_stopping import EarlyStopping, rung_epochs
from nas.values.evaluation import Evaluation
from nas.values.objective import Objective
from nas.values.target import Target

EPOCHS, SEED = 16, 0
COUNTS = (1_000, 10_000, 50_000)
REPEATS = 200
MILLISECONDS = 1e3


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each count."""
    parser = parser_of("driver_cost", __doc__)
    parser.add_argument("--counts", nargs="+", type=positive, default=COUNTS, help="the numbers of trainings")
    options = parser.parse_args(arguments)
    for row in heading(("trainings", "decide (ms)", "tell one (ms)", "tell all (s)")):
        print(row)
    for count in options.counts:
        decide_s, tell_s, all_s = costs(count)
        told_all = f"{all_s:.2f}"
        print(
            line((f"{count:,}", f"{MILLISECONDS * decide_s:.2f}", f"{MILLISECONDS * tell_s:.3f}", told_all)), flush=True
        )


def costs(count: int) -> tuple[float, float, float]:
    """Return the seconds of a decision at a rung, of telling one stopped training, and of telling all rows."""
    rows = made_up_rows(count)
    beliefs = Beliefs(
        nas.load_space("mobilenet", {}, nas.image_signature((3, 32, 32), 10)),
        signature=nas.image_signature((3, 32, 32), 10),
        target=Target("onnxruntime-cpu"),
        objectives=[Objective.parse("error"), Objective.parse("params")],
        limits=[],
        rows=rows,
    )
    stopping = EarlyStopping(
        EarlyStoppingRecipe(), EPOCHS, whole=lambda: beliefs.whole_curves(rows[0].architecture), tell=lambda *_: None
    )
    rungs = rung_epochs(EPOCHS, EarlyStoppingRecipe().reduction)
    for row in rows:
        for rung in rungs:
            if rung <= len(row.details["curve"]):
                error = row.details["curve"][rung - 1]
                stopping.record(row.architecture.id, rung, error, known_losses(beliefs, row.architecture))
    stopped = [row for row in rows if not row.reached_full_fidelity][:REPEATS]
    decide_s = spent(lambda row: stopping.goes_on(row.architecture.id, rungs[0]), stopped)
    tell_s = spent(lambda row: told(beliefs, row), stopped)
    return decide_s, tell_s, count * spent(lambda row: told(beliefs, row), rows)


def made_up_rows(count: int) -> list[Evaluation]:
    """Return rows of trainings of different architectures. Errors fall at about the same pace."""
    rng = np.random.default_rng(SEED)
    space = nas.load_space("mobilenet", {}, nas.image_signature((3, 32, 32), 10))
    found: dict[nas.Architecture, Evaluation] = {}
    while len(found) < count:
        architecture = nas.sample(space, rng)
        is_stopped = rng.random() < 1 / 3
        level = rng.uniform(0.1, 0.5)
        curve = [level * (1 + 3 / epoch) * float(rng.normal(1, 0.03)) for epoch in range(1, EPOCHS + 1)]
        curve = curve[: 4 if is_stopped else EPOCHS]
        details = {"epochs": len(curve), "curve": curve, "stopped_early": is_stopped, "seconds": 60.0}
        found[architecture] = Evaluation("train", architecture, 1, values={"error": curve[-1]}, details=details)
    return list(found.values())


def spent(doing: Callable[[Evaluation], object], rows: Sequence[Evaluation]) -> float:
    """Return the seconds of a processor for each row."""
    doing(rows[0])  # what is made once
    began = time.process_time()
    for row in rows:
        doing(row)
    return (time.process_time() - began) / len(rows)


if __name__ == "__main__":
    main()
