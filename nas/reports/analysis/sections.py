"""The sections of a report beyond its front: each is plain data under a name, which a template and a script show.

The template of a section is ``templates/sections/NAME.html.jinja``, its script ``templates/sections/NAME.js``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas.reports.analysis.architecture_values import known_of
from nas.reports.analysis.choice_importance import matters_of
from nas.reports.analysis.course import course_of
from nas.reports.analysis.runs import labels_of, runs_of
from nas.reports.analysis.scaling import scaling_of
from nas.reports.analysis.targets import has_several_targets
from nas.results.run import Run

TARGETS = "Targets side by side"
SECTIONS = {
    "runs": "Runs side by side",
    "course": "How the search went",
    "matters": "What matters",
    "scaling": "How metrics grow with size",
}
"""The titles of all sections by name, in the order of the page."""


def sections_of(runs: Sequence[Run]) -> dict[str, Mapping[str, Any]]:
    """Return the data of each section about one run or several, by name, in the order of the page.

    Each has a ``title``. The section ``runs`` compares several runs, and is left out for one that has one target. In
    the others, runs stand one after the other.
    """
    labels = labels_of(runs)
    known = [known_of(run.records) for run in runs]
    listed = [list(each.values()) for each in known]
    each_run = list(zip(runs, labels, known, listed, strict=True))
    found: dict[str, Mapping[str, Any]] = {}
    if len(runs) > 1 or any(map(has_several_targets, runs)):
        found["runs"] = runs_of(runs, labels, known)
    found["course"] = {"runs": [{"run": label, **course_of(run, of)} for run, label, of, _ in each_run]}
    found["matters"] = {"runs": [{"run": label, **matters_of(run, of)} for run, label, _, of in each_run]}
    found["scaling"] = {"runs": [{"run": label, **scaling_of(run, of)} for run, label, _, of in each_run]}
    titles = SECTIONS if len(runs) > 1 else {**SECTIONS, "runs": TARGETS}
    return {name: {"title": titles[name], **data} for name, data in found.items()}
