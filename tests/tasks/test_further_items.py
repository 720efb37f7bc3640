"""A task with further items knows itself by all that is trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas.errors import DataError
from nas.tasks.further_items import enlarged
from nas.tasks.images.images import Images
from nas.tasks.images.splits import Split


def further(digits: Images, labels: np.ndarray) -> str:
    """Return the fingerprint of digits with 30 negatives that have these labels."""
    more = replace(digits, name="more", train=Split(255 - digits.train.images[:30], labels))
    return enlarged(digits, more).task.fingerprint


def test_further_items_of_groups_are_refused(digits: Images) -> None:
    """They may be of a patient whose pictures are in the test."""
    groups = np.arange(len(digits.train.labels)) // 10
    grouped = replace(digits, train=replace(digits.train, groups=groups), split_by="groups")
    with pytest.raises(DataError, match="all items of a group stay in one split, and further ones may be of a group"):
        enlarged(grouped, digits)


def test_other_labels_are_other_data(digits: Images) -> None:
    """A training that was interrupted must not go on with them."""
    labels = digits.train.labels[:30]
    assert further(digits, labels) == further(digits, labels.copy())
    assert further(digits, labels) != further(digits, (labels + 1) % 10)
