"""Bad budgets: times, trials, rounds and efforts that are impossible, absurd, or contradict each other."""

from __future__ import annotations

from bad_inputs.bad_input import BadInput


def search(*arguments: str, says: tuple[str, ...], most_lines: int = 3) -> BadInput:
    """A new search with a mistake in its budget."""
    return BadInput(("search", *arguments), says, most_lines=most_lines)


def setting(*assignments: str, says: tuple[str, ...]) -> BadInput:
    return search(*(word for each in assignments for word in ("--set", each)), says=says)


BAD_INPUTS = {
    # times
    "no time at all": search("--time", "0s", says=("search_time_s", "greater than 0", "0")),
    "a negative time": search("--time=-5min", says=("90s, 15min or 2h", "'-5min'")),
    "a time in days": search("--time", "2d", says=("90s, 15min or 2h", "'2d'")),
    "a time of two units": search("--time", "1h30min", says=("90s, 15min or 2h", "'1h30min'")),
    "a time with a comma": search("--time", "1,5h", says=("90s, 15min or 2h", "'1,5h'")),
    "an empty time": search("--time", "", says=("90s, 15min or 2h", "''")),
    "a time that is not a number": search("--time", "nans", says=("90s, 15min or 2h", "'nans'")),
    "an infinite time": search("--time", "9" * 400 + "h", says=("search_time_s",)),
    "a time for shared weights": search(
        "--time", "1min", "--evaluate", "supernet", says=("search_time_s", "supernet.epochs")
    ),
    "a time for one training of no time": setting(
        "training.time_limit_s=0", says=("training.time_limit_s", "greater than 0")
    ),
    # trials and rounds
    "no trials and rounds": search("--trials", "0", "--set", "rounds=2", says=("rounds must be at most trials", "2")),
    "no trials of a table": search("--trials", "0", "--evaluate", "table", says=("trials = 0", '"table"')),
    "negative trials": search("--trials", "-4", says=("trials", "-4")),
    "half a trial": setting("trials=2.5", says=("trials", "2.5")),
    "more rounds than trials": setting("trials=4", "rounds=5", says=("rounds must be at most trials (4)", "5")),
    "no rounds": setting("rounds=0", says=("rounds", "0")),
    "rounds for ever": setting("rounds=inf", says=("rounds", "inf")),
    # measuring
    "too few first measurements": setting("measuring.initial=4", says=("measuring.initial", "5", "4")),
    "first measurements of everything": setting(
        "measuring.initial=1000000", says=("measuring.initial", "2000", "1000000")
    ),
    "a ceiling below the first measurements": setting(
        "measuring.initial=20", "measuring.most_initial=10", says=("most_initial must be at least initial (20)", "10")
    ),
    "a ceiling below a predictor's need": setting("measuring.most_initial=4", says=("most_initial", "5", "4")),
    "nothing measured after a round": setting("measuring.per_round=0", says=("measuring.per_round", "1", "0")),
    "fewest rounds above the most": setting(
        "measuring.rounds=20", says=("rounds must be at most max_rounds (15)", "20")
    ),
    "most rounds below the fewest": setting(
        "measuring.max_rounds=3", says=("rounds must be at most max_rounds (3)", "5")
    ),
    "one round of measuring": setting("measuring.rounds=1", says=("measuring.rounds", "2", "1")),
    "a million rounds of measuring": setting("measuring.max_rounds=1000000", says=("measuring.max_rounds", "1000")),
    "a precision of nothing": setting("measuring.precision=0", says=("measuring.precision", "0")),
    "a precision that is not finite": setting("measuring.precision=inf", says=("measuring.precision", "finite")),
    "a precision in words": setting("measuring.precision=high", says=("measuring.precision", "high")),
    "rounds longer than the time limit of one": setting(
        "measuring.seconds_per_round=100", says=("timeout_s must leave 2 s", "(100)", "60")
    ),
    "a time limit for measuring that nothing meets": setting(
        "measuring.timeout_s=0.001", says=("timeout_s must leave 2 s", "counts as hung", "0.001")
    ),
    "rounds of no time": setting("measuring.seconds_per_round=0", says=("measuring.seconds_per_round", "0")),
    # winners
    "no winners": setting("retraining.winners=0", says=("retraining.winners", "1", "0")),
    "winners that are not trained": setting("retraining.epochs=0", says=("retraining.epochs", "1", "0")),
    "a negative time for a retraining": setting(
        "retraining.time_limit_s=-1", says=("retraining.time_limit_s", "greater than 0", "-1")
    ),
    "winners from weights that nobody trained": setting(
        "retraining.start=supernet", says=('evaluate must be "supernet"', '"train"')
    ),
    "an effort that is a list": setting("measuring=[1, 2]", says=("measuring", "[1, 2]")),
    "trials in words": setting("trials=many", says=("trials", "many")),
}
