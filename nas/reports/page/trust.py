"""Can the results be trusted? Plain questions about a run, with answers, and further sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nas.prediction.trust import warning_about
from nas.reports.wording import wording_of
from nas.results.front import Front
from nas.results.notes.front_notes import listed
from nas.results.notes.precision_notes import precision_sentences
from nas.storage.journal_rows import Fit
from nas.values.comparison import is_surely_less
from nas.values.evaluation import Evaluation
from nas.values.held_out import reach_text
from nas.values.metric import METRICS

LARGE_DIFFERENCE = 1e-3
"""A relative difference of outputs above this one is more than rounding."""


@dataclass(frozen=True)
class Answer:
    """A question of a reader, with its answer: yes, no or partly."""

    question: str
    verdict: str
    sentence: str


def trust_answers(front: Front, fits: Sequence[Fit], rows: Sequence[Evaluation]) -> list[Answer]:
    """Return the answers that the run can give, the plainest first."""
    found = [_measured(front), _told_apart(front), *_predictions(front, fits), _parity(front), _doubts(rows)]
    return [answer for answer in found if answer is not None]


def _measured(front: Front) -> Answer | None:
    if not front.winners:
        return None
    question = "Were the winners measured?"
    if front.table is not None:
        return Answer(question, "No", "All values were read from a table, which gives no intervals.")
    names = [metric for metric in front.costs if metric.source == "measured"] or [METRICS["latency_ms"]]
    whole = sum(all(winner.has(metric.name) for metric in names) for winner in front)
    titles = " and ".join(metric.title.lower() for metric in names)
    if whole == len(front):
        return Answer(question, "Yes", f"The {titles} of each was measured on the target, after it was exported.")
    verdict = "Partly" if whole else "No"
    return Answer(question, verdict, f"The {titles} of {whole} of {len(front)} winners was measured on the target.")


def _told_apart(front: Front) -> Answer | None:
    if front.best_or_none is None or len(front) < 2 or front.table is not None:
        return None
    question = "Is the best model surely the best?"
    doubts = best_sentences(front)
    if front.best.is_near_chance:
        return Answer(question, "No", f"The test cannot tell it from {front.words.constant}.")
    if doubts:
        return Answer(question, "No", " ".join(doubts))
    return Answer(question, "Yes", f"Its test {front.words.title} differs from all others by more than chance.")


def _predictions(front: Front, fits: Sequence[Fit]) -> list[Answer]:
    words, answers = wording_of(front.table), []
    for name, fit in {fit.metric: fit for fit in fits}.items():
        title = METRICS[name].title.lower() if name in METRICS else name
        held_out = fit.held_out
        warning = warning_about(METRICS[name], held_out) if name in METRICS else None
        told = (
            f"On {held_out.samples} {words.held_out}, the last {title} predictor was off by "
            f"{100 * held_out.mape:.1f} % on average."
        )
        if math.isfinite(held_out.width):
            told += f" Its 90 % bounds {reach_text(held_out.width / 2, held_out.samples)}."
        doubts = [*([warning] if warning else []), *fit.verdict]
        verdict = "Not for this limit" if fit.verdict else "Partly" if doubts else "Yes"
        answers.append(Answer(f"Can I trust predictions of {title}?", verdict, " ".join([told, *doubts, *fit.grounds])))
    return answers


def _parity(front: Front) -> Answer | None:
    parities = [winner.parity for winner in front if winner.parity is not None]
    if not parities:
        return None
    sentence = (
        f"The outputs of exported and trained models differ by at most {max(parities):.2g}, relative to the largest "
        "output."
    )
    verdict = "Yes" if max(parities) <= LARGE_DIFFERENCE else "Partly"
    return Answer("Do exported models answer like the trained ones?", verdict, sentence)


def _doubts(rows: Sequence[Evaluation]) -> Answer | None:
    measured = [row for row in rows if row.measurements]
    if not measured or any(m.table is not None for row in measured for m in row.measurements.values()):
        return None
    doubtful = sum(any(found.flags for found in row.measurements.values()) for row in measured)
    question = "Was the machine quiet?"
    if not doubtful:
        return Answer(question, "Yes", "No measurement was flagged.")
    verb = "was" if doubtful == 1 else "were"
    return Answer(question, "Partly", f"{doubtful} of {len(measured)} measurements {verb} flagged, as listed below.")


def trust_sentences(front: Front, rows: Sequence[Evaluation]) -> list[str]:
    """Return sentences about predicted bounds of winners, about precisions, and about what the test cannot tell."""
    sentences = []
    for metric in METRICS.among(sorted({name for winner in front for name in winner.predicted})):
        name = metric.name
        pairs = [
            (w.predicted[name], w.measurements[name]) for w in front if {name} <= w.predicted.keys() & w.measurements
        ]
        if pairs:
            title = metric.title.lower()
            value = f"measured {title}" if front.table is None else f"{title} from the table"
            inside = sum(guess.lower <= found.median <= guess.upper for guess, found in pairs)
            sentences.append(
                f"For {inside} of {len(pairs)} winners, the {value} lies within the predicted 90 % bounds."
            )
    return [*sentences, *precision_sentences(rows), *best_sentences(front)]


def best_sentences(front: Front) -> list[str]:
    """Return a sentence about winners whose quality cannot be told from the best one's, if there are any."""
    best = front.best_or_none
    if best is None:
        return []
    name = front.quality.name if best.has(front.quality.name) else "error"
    others = [winner for winner in front if winner is not best and winner.has(name)]
    errors = [(winner.estimate(name), best.estimate(name)) for winner in others]
    same = sum(not is_surely_less(own, error) and not is_surely_less(error, own) for error, own in errors)
    ahead = [
        winner.architecture.id
        for winner, (error, own) in zip(others, errors, strict=True)
        if winner.meets(front.limits) and is_surely_less(error, own)
    ]
    told = [f"On the test {listed(ahead)} {'is' if len(ahead) == 1 else 'are'} surely better."] if ahead else []
    if not same:
        return told
    of_others = "that of another winner" if same == 1 else f"those of {same} other winners"
    title, text = front.words.title, front.words.text(best.test_error)
    if name != "error":
        title, text = front.quality.title.lower(), front.quality.format(best.value(name))
    return [*told, f"The test cannot tell the best {title}, {text}, from {of_others}."]
