"""The model card of a bundle: what the model is, how good, where measured, and what it must not be taken for."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nas.errors import RecipeError
from nas.progress import duration_text
from nas.results.chance_marks import NEAR, WORSE, chance_mark
from nas.results.seeds import over_seeds
from nas.tasks.deployed.predict import FILLS_BYTES
from nas.values.error_words import ErrorWords
from nas.values.evaluation import AS_TRAINED, ELSEWHERE, TUNED_ON, errors_elsewhere
from nas.values.measurement import Interval, Measurement
from nas.values.metric import METRICS, bare_name, target_in
from nas.values.objective import Limit, limit_text
from nas.values.target import Target

CARD = "model_card.md"
TUNED_PARENT = "tuned_parent"
"""The key that says of a parent, among what is told of its training, if the run tuned it."""
SCRATCH = "trained from random ones, so no licence of other weights applies"
SPLIT = (
    "The model was trained on the training and validation items together. The test items scored it once, and nothing "
    "was chosen by them."
)
AS_THE_SEARCH_LEFT_IT = (
    "The model is as the search trained it, on {items} alone: no time was left to train it again. The validation items "
    "chose it. The test items scored it once, and nothing was chosen by them."
)
TUNED_ON_ALL = (
    "The search trained the model on {items}, and the validation items chose it. No time was left to train it again, "
    "so it was tuned on for one epoch on the training and validation items together. The test items scored it once, "
    "and nothing was chosen by them."
)
UNTRAINED = (
    "The model is the parent of the search as it came: nothing was trained for it. The test items scored it once, and "
    "nothing was chosen by them. Who made it knows if it had seen them before."
)
TUNED = (
    "The model is the parent of the search. It was tuned on the training items before the search began. The test items "
    "scored it once, and nothing was chosen by them. Who made it knows if it had seen them before."
)
PARENT = (
    "The model is the parent of the search, and was not trained after the search. The test items scored it once, and "
    "nothing was chosen by them. Who made it knows if it had seen them before."
)
OF_FILES = ("model_bytes", "weight_bytes")
"""Measured metrics that are the same on all devices."""
MARKED = {
    NEAR: " **This model cannot be told from that: it learned nothing.**",
    WORSE: " **This model is worse than that: it learned nothing.**",
}
"""What the card says of a model by its mark."""
OVERFLOWING = (
    "- The int8 weights of `{file}` have 8 bits. On x86 processors without VNNI their products may overflow, and "
    "answers be wrong: run `model.onnx` there."
)
_MARKUP = str.maketrans({character: f"\\{character}" for character in "\\`*_[]|#~"})


def card_text(about: Mapping[str, Any], measured: Mapping[str, Measurement]) -> str:
    """Return the card as Markdown, from a bundle's ``architecture.json`` and its measurements.

    Names that people chose, such as classes, appear as text, whatever is in them.
    """
    sections = (
        ("Use", _use(about)),
        ("Data", _data(about)),
        (f"Results {'of the winner ' if _is_untested(about) else ''}on {_tests(about)}", _results(about)),
        ("Results on the device", _device(about, measured)),
        ("Limits", _limits(about, measured)),
        ("Preparation of inputs", _preparation(about)),
        ("Cost", _cost(about, measured)),
        ("Licence", _licence(about)),
        ("Architecture", _architecture(about)),
        ("Files", _files(about)),
    )
    lines = [f"# Model {_plain(about['id'])}", ""]
    lines += [f"A model for {_plain(about.get('data', 'unknown data'))}, for `{_code(about['target'])}`.", ""]
    for title, found in sections:
        lines += [f"## {title}", "", *found, ""]
    return "\n".join(lines).rstrip() + "\n"


def _tests(about: Mapping[str, Any]) -> str:
    facts = about.get("facts", {})
    noun = ErrorWords.from_json(facts.get("words")).noun
    return f"{facts[f'test {noun}']:,} test {noun}" if f"test {noun}" in facts else "the test split"


def _use(about: Mapping[str, Any]) -> list[str]:
    form = about.get("form")
    made = []
    if form:
        tested_on = _code(about.get("tested_on", "another target"))
        made = [f"This is the form `{_code(form['format'])}` of a winner that was tested on `{tested_on}`."]
        made += [_sentence(form["agreement"])] if form.get("agreement") else []
    names = about.get("answers", {}).get("names") or []
    classes = [f"Answers: {', '.join(map(_plain, names))}."] if names else []
    *packages, last = ("numpy", "onnxruntime", *map(_plain, about.get("packages", ())))
    needed = ", ".join(packages)
    batch = "any number of inputs at once" if form and form.get("dynamic_batch") else f"a batch of {about['batch']}"
    return [
        *made,
        f"The deployed model is `{_code(about['deployed'])}`. It takes {batch}.",
        *(
            f"For `{_code(there['target'])}` it is `{_code(there['deployed'])}`."
            for there in about.get(ELSEWHERE, {}).values()
        ),
        f"Run it without further software of this project: `python predict.py FILE`, with {needed} and {last}.",
        *classes,
    ]


def _data(about: Mapping[str, Any]) -> list[str]:
    facts = about.get("facts")
    if not facts:
        return [f"{_plain(about.get('data', 'Unknown'))}. No more was recorded."]
    hidden = ("words", "signature")
    rows = [(_plain(key), _shown(value)) for key, value in facts.items() if key not in hidden]
    training = about.get("training", {})
    share = training.get("subset", 1.0)
    items = "the training items" if share == 1 else f"{100 * share:g} % of the training items"
    short = {AS_TRAINED: AS_THE_SEARCH_LEFT_IT, TUNED_ON: TUNED_ON_ALL}
    told = short.get(training.get("start"), SPLIT).format(items=items)
    if training.get("epochs") == 0:
        told = {True: TUNED, False: UNTRAINED}.get(training.get(TUNED_PARENT), PARENT)
    if further := training.get("further"):
        told += f" It was also trained on {further['items']:,} further items of {_plain(further['name'])}."
    return [*_table(("fact", "value"), rows), "", told]


def _results(about: Mapping[str, Any]) -> list[str]:
    words = ErrorWords.from_json(about.get("facts", {}).get("words"))
    low, high = about.get("test_interval_95", (None, None))
    rows = []
    if about.get("test_error") is not None:
        bounds = "unknown" if low is None else words.range_text(Interval(low, high))
        rows.append((words.title, words.text(about["test_error"]), bounds))
    for name, (value, lower, upper) in errors_elsewhere(about).items():
        title, bounds = _plain(words.name_of(METRICS[name])), words.range_text(Interval(lower, upper))
        rows.append((title, words.text(value), bounds))
    for name, (value, lower, upper) in about.get("test_scores_95", {}).items():
        metric = METRICS.get(name)
        if metric is not None:
            rows.append((metric.title.lower(), metric.format(value), f"{metric.format(lower)}–{metric.format(upper)}"))
    found = _table(("metric", "value", "95 % interval"), rows) if rows else ["Nothing was tested."]
    found = [*_of_form(about, words), *found]
    chance = about.get("chance_error")
    if chance is not None:
        compared = f"For comparison, {words.constant} gives {words.text(chance)}."
        known = about.get("test_error") is not None and high is not None
        mark = chance_mark(about["test_error"], Interval(low, high), chance) if known else ""
        found += ["", compared + MARKED.get(mark, "")]
    several = over_seeds(about.get("seed_errors", ()), about.get("failed_seeds", 0))
    if several is not None:
        told = several.text(words)
        found += ["", f"Trained by several seeds: {words.title} {told}. This model is the first of them."]
    if (
        not about.get("form")
        and about.get("exported_test_error") is not None
        and about["exported_test_error"] != about.get("test_error")
    ):
        found += ["", f"Before it was deployed, the model had {words.text(about['exported_test_error'])}."]
    return found


def _is_untested(about: Mapping[str, Any]) -> bool:
    """Return True for a form that the test items did not score. Earlier versions tested none."""
    form = about.get("form") or {}
    return bool(form) and ("untested" in form or form.get("winner_test_error") is None)


def _of_form(about: Mapping[str, Any], words: ErrorWords) -> list[str]:
    """Return whose results those of a form are, and how they compare with the winner's."""
    form = about.get("form")
    if not form:
        return []
    tested_on = f"`{_code(about.get('tested_on', 'another target'))}`"
    if not _is_untested(about):
        own = words.text(form["winner_test_error"])
        return [f"They are of this form. The {words.title} of the winner itself is {own}, on {tested_on}.", ""]
    why = f", because {_plain(form['untested'])}" if form.get("untested") else ""
    found = f" Instead, {_plain(form['agreement'])}." if form.get("agreement") else ""
    whose = "" if about.get("test_error") is None else f"They are of the winner, on {tested_on}. "
    return [f"{whose}This form was not scored by the test items{why}.{found}", ""]


def _device(about: Mapping[str, Any], measured: Mapping[str, Measurement]) -> list[str]:
    if not measured:
        return ["Nothing was measured."]
    lines: list[str] = []
    for on in dict.fromkeys(map(target_in, measured)):
        target = about[ELSEWHERE][on]["target"] if on in about.get(ELSEWHERE, {}) else about["target"]
        own = {bare_name(name): each for name, each in measured.items() if target_in(name) == on}
        lines += [f"On `{_code(target)}`:", "", *_on_target(own), ""]
    return [*lines, "All samples and conditions are in `measurement.json`."]


def _on_target(measured: Mapping[str, Measurement]) -> list[str]:
    """Return what was measured on one target, and its conditions and doubts; metrics have their bare names."""
    rows = [
        (METRICS[name].title.lower(), *_values(name, each), str(len(each.rounds)))
        for name, each in measured.items()
        if name in METRICS
    ]
    conditions = next(iter(measured.values())).conditions
    known = {
        key: conditions[key] for key in ("processor", "system", "runtime", "threads", "batch") if key in conditions
    }
    executed = conditions.get("executed_precision")
    known |= {"executed precision": executed} if executed else {}
    lines = [f"- {key}: {_plain(value)}" for key, value in known.items()]
    doubts = [f"- Doubt: {_sentence(flag)}" for each in measured.values() for flag in each.flags]
    table = _table(("metric", "median", "95 % interval", "sessions"), rows)
    return [*table, "", *lines, *dict.fromkeys(doubts)]


def _limits(about: Mapping[str, Any], measured: Mapping[str, Measurement]) -> list[str]:
    lines = []
    for text in about.get("limits", ()):
        try:
            limit = Limit.parse(text)
        except RecipeError:  # a metric that only another version knows
            continue
        value = _bound(about, measured, limit.metric.name)
        there = _device_elsewhere(about, limit.metric.name)
        state = "not checked" if value is None else "met" if limit.holds(value) else "**not met**"
        if value is not None and there is not None:
            state = f"not checked on {there}; on the device of this form it is up to {limit.metric.format(value)}"
        lines.append(f"- Asked for: {limit_text(limit)}, {state}.")
    lines += [f"- {_sentence(text)}" for text in about.get("warnings", ())]
    lines += [OVERFLOWING.format(file=_code(about["deployed"]))] if about.get(FILLS_BYTES) else []
    return [
        *lines,
        "- The test items come from the same source as the training items. Other data may give other results.",
        "- Times, memory and energy hold for the device and the versions above alone: measure again on yours.",
        f"- Nobody has tested the model for uses other than {_plain(about.get('data', 'its data'))}.",
    ]


def _device_elsewhere(about: Mapping[str, Any], name: str) -> str | None:
    """Return the device for which a limit on a measured metric was asked, if a form was measured on another one."""
    if METRICS[name].source != "measured" or METRICS[name].on or name in OF_FILES or "tested_on" not in about:
        return None
    asked, here = (Target.parse(about[key]).device for key in ("tested_on", "target"))
    return None if asked == here else _plain(asked or "the machine of the search")


def _bound(about: Mapping[str, Any], measured: Mapping[str, Measurement], name: str) -> float | None:
    """Return what a limit is checked against: for a measurement, the upper bound of its interval."""
    if name in measured:
        return measured[name].interval.upper
    if _is_untested(about) and METRICS[name].source == "trained":  # the test scored the winner, not this form
        return None
    tested = {**about.get("test_scores_95", {}), **errors_elsewhere(about)}
    scores = {"error": about.get("test_error"), **{k: v[0] for k, v in tested.items()}}
    scores["dram_traffic_bytes"] = about.get("modelled_dram_traffic_bytes")  # the name that a description gives it
    found = scores.get(name, about.get(name))
    return None if found is None else float(found)


def _preparation(about: Mapping[str, Any]) -> list[str]:
    steps = about.get("preparation", {}).get("in_words", ())
    return [f"{number}. {_plain(step)}" for number, step in enumerate(steps, 1)] or ["None was recorded."]


def _cost(about: Mapping[str, Any], measured: Mapping[str, Measurement]) -> list[str]:
    trained = about.get("training", {})
    lines = []
    if "seconds" in trained and trained.get("epochs") != 0:
        epochs = f"{trained.get('epochs')} epoch{'s' * (trained.get('epochs') != 1)}"
        lines.append(f"- Training this model: {epochs} in {duration_text(trained['seconds'])}.")
    until = "The run until its winners were trained"
    lines += [f"- {until}, {_plain(key)}: {_shown(value)}." for key, value in about.get("search_cost", {}).items()]
    energy = measured.get("energy_mj")
    lines += [] if energy is None else [f"- One inference: {' '.join(_values('energy_mj', energy))}."]
    counts = {"parameters": about.get("params"), "multiply-accumulates": about.get("macs")}
    known = [f"{title}: {count:,.0f}" for title, count in counts.items() if count is not None]
    return [*lines, f"- {'; '.join(known).capitalize() or 'Parameters were not recorded'}."]


def _licence(about: Mapping[str, Any]) -> list[str]:
    origin = about.get("origin")
    if origin is None:
        weights = "Where the weights began was not recorded."
    elif not origin:
        weights = f"The weights were {SCRATCH}."
    else:
        told = "; ".join(f"{_plain(key)}: {_plain(value)}" for key, value in origin.items())
        unknown = "" if "licence" in origin else " Their licence is not known: ask who made them."
        weights = f"The weights began from others. {told}.{unknown}"
    return [weights, "The licence of the data applies too; this project does not know it."]


def _architecture(about: Mapping[str, Any]) -> list[str]:
    space = about.get("space", {}).get("name", "unknown")
    rows = [(_plain(name), _shown(option)) for name, option in about.get("choices", {}).items()]
    return [f"Space: {_plain(space)}.", "", *_table(("choice", "option"), rows)]


def _files(about: Mapping[str, Any]) -> list[str]:
    lines = ["`manifest.json` has the SHA-256 hash of every file. Check them with `nas bundle verify`."]
    if about.get("samples"):
        lines.append(
            f"`samples.safetensors` holds {_plain(about['samples'])}, by which models are checked elsewhere. "
            "If your data are private, give away a copy without it: `nas bundle export --no-samples`."
        )
    return lines


def _values(name: str, found: Measurement) -> tuple[str, str]:
    form, interval = METRICS[name].format, found.interval
    bounds = "exact" if interval.is_point else f"{form(interval.lower)}–{form(interval.upper)}"
    raw = "" if found.raw_beside is None else f"; {form(found.raw_beside)} by a stopwatch"
    return form(found.median), bounds + raw


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table of Markdown; cells of rows are escaped already or made of numbers."""
    rule = ["---"] * len(titles)
    return [f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows)]


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_plain(key)}: {_plain(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return _plain(value)


def _sentence(text: str) -> str:
    plain = _plain(text)
    return f"{plain[:1].upper()}{plain[1:]}{'' if plain.endswith('.') else '.'}"


def _plain(value: Any) -> str:
    """Return a value as text in one line, in which neither HTML nor Markdown means anything."""
    return html.escape(" ".join(str(value).split()).translate(_MARKUP), quote=False)


def _code(value: Any) -> str:
    """Return a value for a span of code."""
    return " ".join(str(value).split()).replace("`", "'")
