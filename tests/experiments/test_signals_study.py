"""The comparison of winners with a plain network for signals: its network, its table, and one small comparison."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import nas
from experiments import signals_study
from experiments.signals_study import Compared, Fcn, summary
from nas.space.layer import total_macs, total_params
from nas.space.tracing import layers_of

SIGNATURE = nas.Signature((nas.TensorType("signals", (1, 24)),), (2,))


def compared(seed: int, winner_wrong: int, fcn_wrong: int) -> Compared:
    return Compared("A", seed, 100, winner_wrong, fcn_wrong, 0.1 * (seed + 1), 1.0, 10, 1000, 9.0, 8.0, {})


def test_the_network_has_the_published_size() -> None:
    """Three convolutions with batch norms, and a linear layer of 128 inputs."""
    space = Fcn((1, 24), 2)
    layers = layers_of(space, nas.Architecture({"width": 128}), SIGNATURE)
    norms = 2 * (128 + 256 + 128)
    assert total_params(layers) == 128 * 8 + 128 * 256 * 5 + 256 * 128 * 3 + norms + 2 * 129
    assert total_macs(layers) > 24 * 128 * 256 * 5
    assert space.build(nas.Architecture({"width": 128})).eval()(torch.zeros(2, 1, 24)).shape == (2, 2)


def test_the_table_adds_up_seeds() -> None:
    *_, row = summary([compared(0, 3, 5), compared(1, 4, 5)])
    assert "| A | 100 × 2 | 3.5 % (1.6–9.8) | 5.0 % (2.2–11.2) | 15 % of FCN's (at most 20 %) | 1.0 % |" in row


@pytest.mark.slow
def test_a_small_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two made-up classes, which are easy to tell apart; a second start repeats nothing."""
    rng = np.random.default_rng(0)
    for title, count in (("TRAIN", 20), ("TEST", 12)):
        lines = ["@classLabel true a b", "@data"]
        for number in range(count):
            values = np.sin(np.arange(24) * (0.4 + 0.6 * (number % 2))) + rng.normal(0, 0.1, 24)
            lines.append(f"{','.join(f'{value:.4f}' for value in values)}:{'ab'[number % 2]}")
        path = tmp_path / "Made" / f"Made_{title}.ts"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines))
    out = tmp_path / "out.json"
    arguments = ["--sets", "Made", "--folder", str(tmp_path), "--seeds", "1", "--trials", "2", "--out", str(out)]
    assert signals_study.main(arguments) == 0
    first = out.read_text()
    (found,) = json.loads(first)
    assert found["winner_wrong"] <= 3
    assert found["winner_ms"] < found["fcn_ms"]
    assert signals_study.main(arguments) == 0
    assert out.read_text() == first
    assert "| Made | 12 × 1 |" in capsys.readouterr().out
