"""Bad metrics: those that a task lacks, shares above 1, and noise that a task does not have."""

from __future__ import annotations

from bad_inputs.bad_input import BadInput

DRY = ("search", "--dry-run")


def objective(name: str, *says: str) -> BadInput:
    """Return the case of one objective."""
    return BadInput((*DRY, "--objective", name), says)


def limit(text: str, *says: str) -> BadInput:
    """Return the case of one limit."""
    return BadInput((*DRY, "--limit", text), says)


def noise(setting: str, *says: str) -> BadInput:
    """Return the case of a setting of noise."""
    return BadInput((*DRY, "--objective", "noise_error", "--set", setting), says)


BAD_INPUTS = {
    "a metric of texts for images": objective("perplexity", "digits has no perplexity. It has error, top5_error"),
    "a metric of numbers for classes": limit("mae<=3", "digits has no mae. It has error, top5_error"),
    "a misspelt metric": objective("balanced_eror", "Did you mean 'balanced_error'?"),
    "a share above 1": limit("balanced_error<=5", "lies in [0, 1], or is written like 5%, but got '5'"),
    "a balanced accuracy from above": limit(
        "balanced_accuracy<=90%", "with >=", "Write 'balanced_accuracy >= 90%', or 'balanced_error <= 10%'"
    ),
    "an F1 score of nothing": limit("macro_f1>=0", "a limit on macro_f1 lies in (0, 1]"),
    "a unit for a number without one": limit("rmse<=3m", "is a number without a unit, but got '3m'"),
    "bits without their unit": limit("bits_per_byte<=2", "needs a unit, such as 2.2bits"),
    "metrics other than the error in a table": BadInput(
        (*DRY, "--objective", "macro_f1", "--set", "evaluate=table", "--set", "table.path=t.csv"),
        ("macro_f1_loss need trainings, but a table has errors alone",),
    ),
    "an unknown corruption": noise('robustness.corruptions=["fog"]', "of gaussian-noise, blur", "but got 'fog'"),
    "a corruption twice": noise('robustness.corruptions=["blur", "blur"]', "each corruption is named once"),
    "a strength above 1": noise("robustness.strengths=[2.0]", "above 0 and at most 1", "but got [2.0]"),
    "no strength": noise("robustness.strengths=[]", "at least one, but got []"),
}
