"""The study of the space rocket: other forms of its networks, and the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import nas
from experiments import rocket_study
from experiments.rocket_study import Compared, ComparedSteps, main, summary, take_parameters
from search_spaces.rocket import MiniRocket, Rocket, planned_dilations


def fitted(channels: int) -> tuple[MiniRocket, torch.Tensor]:
    """Return a network that is fitted to noise, and other noise."""
    torch.manual_seed(0)
    architecture = nas.Architecture({"features": 504, "dilations": 4, "pool": 1})
    network = Rocket((channels, 60), 3).build(architecture).eval()
    network.fit((torch.randn(40, channels, 60),), torch.arange(40) % 3, 0)
    return network, torch.randn(8, channels, 60)


def test_other_forms_give_the_same_logits() -> None:
    """But for values on a step, which are few."""
    network, signals = fitted(1)
    with torch.no_grad():
        expected = network(signals)
        for adds in (False, True):
            torch.testing.assert_close(ComparedSteps(network, adds)(signals), expected, rtol=0, atol=0.05)


def test_kernels_of_several_channels_are_not_added() -> None:
    network, signals = fitted(4)
    with torch.no_grad():
        torch.testing.assert_close(ComparedSteps(network, False)(signals), network(signals), rtol=0, atol=0.05)
    with pytest.raises(ValueError, match="for signals of one channel only"):
        ComparedSteps(network, True)


def test_parameters_of_the_reference_are_put_in_place() -> None:
    """Biases that are numbered as the reference does come back in the order of the network's features."""
    network, _ = fitted(2)
    plan = planned_dilations(60, 6, 4)
    counts = np.array([each.features for each in plan])
    channels = np.arange(84 * len(plan)) % 2
    biases = np.arange(504, dtype=np.float32)
    order = take_parameters(network, (np.ones(84 * len(plan), dtype=int), channels, np.array([]), counts, biases))
    found = [((-0.5 - half.offsets) / half.slopes.flatten()).numpy() for half in rocket_study.halves_of(network)]
    np.testing.assert_allclose(np.concatenate(found), biases[order], atol=1e-3)
    first = rocket_study.halves_of(network)[0]
    assert first.numbers[1] == 2
    assert first.kernels[1, 0, 0].abs().sum() == 12
    assert not first.kernels[1, 1].any()


def test_the_table_has_a_row_for_each_set() -> None:
    wrong = {"rocket": 3, "reference": 4, "conv1d": 10}
    ms = {"rocket": 2.0, "smaller": 0.5, "compared": 2.2, "conv1d": 1.0}
    first = Compared("A", 0, 100, wrong, ms, 0.99, 1e-5)
    second = Compared("A", 1, 100, {"rocket": 5, "reference": 4}, {}, 0.97, 1e-5)
    *_, row = summary([first, second])
    assert row == "| A | 100 × 2 | 3.0–5.0 % | 4.0–4.0 % | 10.0 % | 98.0 % | 0.50 | 0.25 | 1.10 | – |"


def test_without_aeon_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(rocket_study, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "rocket.json")])
    assert "pip install aeon" in capsys.readouterr().err
