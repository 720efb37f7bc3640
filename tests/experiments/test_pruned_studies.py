"""Studies with and without the pruner: what the experiment counts."""

from __future__ import annotations

from experiments import pruned_studies


def test_a_pruned_study_takes_fewer_steps_and_finds_as_much() -> None:
    """Without the pruner each trial takes all steps."""
    shape = pruned_studies.SHAPES["ZDT1"]
    steps, volume = pruned_studies.study_of(shape, "random", 0, prunes=False)
    assert steps == pruned_studies.STEPS * pruned_studies.TRIALS
    share, of_volume = pruned_studies.compared(shape, "random", 0)
    assert share < 0.5
    assert of_volume > 0.99
    assert volume > 0
