"""What the default predictor tells of other targets, in sentences."""

from __future__ import annotations

import numpy as np
from made_up_devices import SPACE, Device, drawn, sources_of

from nas.prediction.predictor import batch_of
from nas.values.other_target import Source
from predictors.grounds import ignored_sources, ranks_of_sources, shares_of_methods
from predictors.source_models import source_models

LOGS = np.log(np.arange(1.0, 7.0))


def test_methods_are_told_with_their_ranks_and_weights() -> None:
    held_out = {"informed": LOGS, "informed_additive": -LOGS, "trees": np.zeros(6)}
    weights = {"informed": 0.5, "informed_additive": 0.5, "trees": 0.0}
    told = shares_of_methods(held_out, weights, LOGS, 0.25)
    assert told == (
        "Spearman of predictions on held-out samples: from other targets and the measurements 1.00 (counts 50 %), from "
        "layers and other targets, summed -1.00 (counts 50 %), from trees 0.00 (counts 0 %). In the sums, other "
        "targets make up 25 % of the costs."
    )


def test_targets_without_weight_are_ignored() -> None:
    held_out = {"informed": -LOGS, "informed_additive": LOGS}
    for sums, elsewhere, is_ignored in ((1.0, 0.0, True), (1.0, 0.1, False), (1.0, None, False), (0.0, 0.1, True)):
        told = shares_of_methods(held_out, {"informed": 0.0, "informed_additive": sums}, LOGS, elsewhere)
        assert told.endswith(" So the other targets are ignored.") == is_ignored
        assert ("In the sums" in told) == (sums > 0 and elsewhere is not None)


def test_many_ignored_targets_are_listed_in_part() -> None:
    told = ignored_sources([f"device{n}" for n in range(11)])
    assert told.startswith("Other targets whose values do not follow from their networks, as if shuffled, are ignored")
    assert told.endswith("device7, 3 more.")
    assert ignored_sources(["a", "b"]).endswith(": a, b.")


def test_of_many_targets_the_best_and_the_worst_are_listed() -> None:
    """A target is called by its name, even where targets have measured different architectures."""
    seen, known = drawn(20, seed=0), drawn(60, seed=900)
    (good, *_) = sources_of(known)
    rng = np.random.default_rng(0)
    shuffled = [Source(f"bad{n}", known[n % 3 :], rng.permutation(good.values[n % 3 :])) for n in range(9)]
    models = source_models(SPACE, (*shuffled, good), ())
    told = ranks_of_sources(models, batch_of(SPACE, seen), np.log(Device().latencies_ms(seen)))
    listed = told.removeprefix("Other targets rank the 20 measured architectures with Spearman: ").split(", ")
    assert listed[0].startswith(f"{good.target} 0.")
    assert listed[4] == "2 others between"
    assert len(listed) == 9
