"""What a reader must know about a front's winners beside their values, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nas.results.chance_marks import chance_text
from nas.results.notes.parent_notes import parent_notes
from nas.results.notes.precision_notes import precision_notes
from nas.results.notes.target_notes import target_notes
from nas.results.winner import Winner, broken_text
from nas.values.comparison import Standing, is_surely_less
from nas.values.error_words import ErrorWords
from nas.values.measurement import Estimate

if TYPE_CHECKING:
    from nas.results.front import Front

MOST_NAMED = 4
"""The most winners that a sentence names; further ones are counted."""


def notes_of(front: Front) -> list[tuple[str, ...]]:
    """Return for each winner the sentences that qualify it: near chance, not told from others, doubts.

    Winners that share a fact have the same sentence, so that a list of notes says it once.
    """
    by_id = {winner.architecture.id: standing for winner, standing in zip(front.winners, front.standings, strict=True)}
    parent = next((winner for winner in front.winners if winner.is_parent), None)
    best, notes = front.best_or_none, []
    for winner in front.winners:
        own = winner.architecture.id
        standing = by_id[own]
        found = [near_chance_text(winner)] if winner.is_near_chance else []
        found += [earlier_text(winner)] if winner.earlier else []
        if standing.same_as:
            found.append(same_text(front, own, by_id))
        if standing.on_front and standing.barely_ahead_of:
            found.append(
                f"{own} leads {listed(standing.barely_ahead_of)} by less than the joint 95 % interval, "
                "and is surely behind in another objective."
            )
        found += choice_notes(front) if winner is best else []
        found += simple_notes(winner, front.winners)
        found += parent_notes(winner, parent, front.costs)
        found += precision_notes(winner)
        found += target_notes(winner, front.winners)
        notes.append((*found, *(f"Doubt: {doubt}." for doubt in winner.doubts)))
    return notes


def near_chance_text(winner: Winner) -> str:
    """Return the sentence about a winner that is near chance, or worse than a constant answer."""
    return chance_text(winner.test_error, winner.test_interval, winner.chance_error, winner.words)


def choice_notes(front: Front) -> list[str]:
    """Return why the best winner is that one, where the test of another one that meets the limits looks better."""
    best, quality = front.best_or_none, front.quality
    meeting = [winner for winner in front.winners if winner.meets(front.limits)]
    if best is None or best.score(quality) <= min(winner.score(quality) for winner in meeting):
        return []
    luckiest, own = min(meeting, key=lambda winner: winner.score(quality)), best.architecture.id
    chosen = f"The search chose {own} as the best, though the test of {luckiest.architecture.id} looks better:"
    if best.by_folds and not luckiest.by_folds:
        return [f"{chosen} in the search none was better than this simple model by more than luck may explain."]
    if best.by_folds and luckiest.by_folds:
        errors = [best.words.text(winner.by_folds["error"]) for winner in (best, luckiest)]
        return [f"{chosen} folds over all training and validation items found {errors[0]} against {errors[1]}."]
    return [f"{chosen} the luckiest of several tests looks better than the model is."]


def simple_notes(winner: Winner, winners: Sequence[Winner]) -> list[str]:
    """Return the sentence about a simple model that no trained winner beats; nothing for others."""
    trained = [each for each in winners if not each.is_fitted and not each.is_parent]
    if not winner.is_fitted or not trained or min(each.test_error for each in winners) < winner.test_error:
        return []
    own, title = winner.architecture.id, winner.words.title
    return [
        f"{own} is a simple model, fitted in one pass over the data. No winner that took epochs has a better "
        f"test {title}."
    ]


def earlier_text(winner: Winner) -> str:
    """Return the sentence about the models that a winner's network had before it was retrained again.

    It says so if the new model is surely worse than the last one.
    """
    before = "; ".join(each.text(winner.words) for each in winner.earlier)
    now, last = winner.estimate("error"), winner.earlier[-1]
    is_worse = is_surely_less(Estimate(last.test_error, last.test_interval), now)
    worse = " The new model is surely worse." if is_worse else ""
    return f"{winner.architecture.id} was retrained (number {winner.retraining}). Before: {before}.{worse}"


def same_text(front: Front, own: str, by_id: dict[str, Standing]) -> str:
    """Return the sentence about winners that cannot be told apart from one; the same for each of a whole group."""
    objectives = " and ".join(objective_words(front)) or f"{front.scored} {front.words.title}"
    reason = f"in {objectives} they differ by less than the joint 95 % interval."
    group = {own, *by_id[own].same_as}
    # A part of a front, front[:2], does not have all of them.
    is_whole = all(each in by_id and {each, *by_id[each].same_as} == group for each in group)
    if is_whole:
        return f"{listed([each for each in by_id if each in group], every=True)} cannot be told apart: {reason}"
    return f"{own} cannot be told apart from {listed(by_id[own].same_as)}: {reason}"


def objective_words(front: Front) -> list[str]:
    """Return the names of what was minimised, for people."""
    metrics = [objective.metric for objective in front.objectives]
    return [f"{front.scored} " * (metric.name == "error") + front.words.name_of(metric) for metric in metrics]


def nothing_learned_text(winners: Sequence[Winner], words: ErrorWords) -> str | None:
    """Return the sentences that say so if all winners are near chance, with what to do; None otherwise."""
    if not winners or not all(winner.is_near_chance for winner in winners):
        return None
    chance = winners[0].chance_error
    assert chance is not None
    told = f"no winner can be told from {words.constant}, which gives a "
    told += f"{winners[0].scored} {words.title} of {words.text(chance)}."
    if not winners[0].folder:  # of a table, which trains nothing
        return f"Nothing was learned: {told}"
    advice = f"Train longer (training.epochs and retraining.epochs), or bring more {words.noun}."
    return f"Nothing was learned: {told} {advice}"


def no_best_text(front: Front) -> str:
    """Return the sentences that say why a front has no best winner, and what to do."""
    rule = "the best winner is one that meets the limits, but"
    if not front.winners:
        why = "this search trained nothing" if front.first is not None else "there are no winners"
        return f"{rule} {why}. print(front) shows what there is."
    nearest = front.nearest
    broken = ", ".join(broken_text(nearest, limit) for limit in nearest.broken(front.limits))
    return (
        f"{rule} none of {len(front)} does. The nearest is {nearest.architecture.id}: {broken}. Take front.nearest, or "
        "ask for other limits by front.within."
    )


def listed(names: Sequence[str], every: bool = False) -> str:
    """Return names as part of a sentence: ``a, b and c``; after ``MOST_NAMED`` they are counted, unless ``every``."""
    shown = list(names) if every and len(names) <= 2 * MOST_NAMED else list(names[:MOST_NAMED])
    left = len(names) - len(shown)
    parts = [*shown, *([f"{left} more"] if left else [])]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
