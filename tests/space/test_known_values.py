"""What a space knows of its architectures before any is trained."""

from __future__ import annotations

import numpy as np
from knowing_space import Knowing
from tiny_space import TinySpace

from nas.space.architecture import Architecture
from nas.space.parts.device_parts import device_space, with_training
from nas.space.parts.known_values import known_prior


def test_known_values_become_a_prior_whatever_is_trained() -> None:
    """Unknown ones are NaN. A space that knows nothing has none."""
    whole = with_training(Knowing(), {"learning_rate": (1e-3, 1e-2)})
    rows = [Architecture({"width": width, "depth": 0, "learning_rate": 1e-3}) for width in (4, 16)]
    prior = known_prior(whole)
    assert prior is not None
    assert (prior.names, prior.higher_is_better) == (("elsewhere", "twice"), True)
    np.testing.assert_array_equal(prior(rows), [[74.0, np.nan], [np.nan, np.nan]])
    parts = known_prior(device_space(whole))
    assert parts is not None
    np.testing.assert_array_equal(parts([row.without(["learning_rate"]) for row in rows]), prior(rows))
    assert known_prior(TinySpace()) is None
