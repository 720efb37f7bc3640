"""The comparison of weight sharing runs, and its correlations match its columns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy.stats import kendalltau, spearmanr

from experiments.weight_sharing import main


@pytest.mark.slow
def test_the_benchmark_of_weight_sharing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run on digits with the shortest trainings writes and prints the rank correlations."""
    options = "--data digits --architectures 4 --subset 0.5 --epochs 2 --supernet-epochs 3 --batch-size 32"
    assert main([*options.split(), "--json", str(tmp_path / "out.json")]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    assert len(figures["seeds"]) == 2
    for number, seed in enumerate(figures["seeds"]):
        assert len(seed["alone"]) == 4
        assert figures["spearman"]["supernet"][number] == spearmanr(seed["supernet"], seed["alone"]).statistic
        assert figures["kendall"]["snip"][number] == kendalltau([-s for s in seed["snip"]], seed["alone"]).statistic
    printed = capsys.readouterr().out
    assert "| SNIP |" in printed
    assert "| shared weights |" in printed
