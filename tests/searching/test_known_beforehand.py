"""What a space knows of its architectures is a prior of the search, and its worth is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import evaluations_of
from knowing_space import Knowing
from quick_runs import Diary, search

from nas.results.notes.prior_ranks import prior_ranks
from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation

pytestmark = pytest.mark.usefixtures("quick_export")


@pytest.mark.slow
def test_candidates_keep_what_was_known_and_its_worth_is_told(tmp_path: Path) -> None:
    """Values that are missing are left out."""
    diary = Diary()
    search(tmp_path, Knowing(), progress=diary, trials=6, early_stopping={"enabled": False})
    rows = evaluations_of(tmp_path / "run", "train")
    known = {int(row.architecture["width"]): row.details.get("prior") for row in rows if not row.failed}
    assert known
    assert all(found == ({"elsewhere": 70.0 + width} if width != 16 else {}) for width, found in known.items())
    assert any(text.startswith("The prior elsewhere ranks the") for text in diary.news)


def test_what_is_the_same_of_all_ranks_nothing() -> None:
    """Candidates of one pretrained model have one published accuracy."""
    rows = [
        Evaluation("train", Architecture({"width": n}), values={"error": n / 10}, details={"prior": {"a": 7.0, "b": n}})
        for n in (1, 2, 3)
    ]
    assert list(prior_ranks(rows)) == ["b"]
