"""The comparison of a search of text with an untuned default: its recipe and its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nas
from experiments.text_search import DEFAULT, _parser, _recipe, _table, plain_bits
from nas.space.search_space import architecture_from, load_space
from nas.tasks.loading import Loading
from nas.tasks.texts.loading import load_text
from search_spaces.ngram_fits import WITTEN_BELL, _Found, count_ngrams, smooth


def row(name: str, bits: float, us_per_token: float) -> dict[str, Any]:
    return {
        "name": name,
        "architecture": dict(DEFAULT),
        "bits_per_byte": [bits, bits - 0.1, bits + 0.1],
        "perplexity": [2**bits],
        "us_per_token": us_per_token,
    }


def test_the_limit_is_for_a_whole_window() -> None:
    recipe = nas.Recipe.from_mapping(_recipe(_parser().parse_args(["--us-per-token", "20", "--context", "50"])))
    assert recipe.limits == ("latency_ms <= 1ms",)


def test_the_default_is_in_the_space() -> None:
    signature = nas.Signature((nas.TensorType("tokens", (64,), "int64", (256,)),), (64, 256))
    assert dict(architecture_from(load_space("gpt", {}, signature), DEFAULT)) == DEFAULT


def test_the_table_compares_each_winner_with_the_default() -> None:
    models = [row("default", 2.0, 10.0), row("slower", 1.5, 20.0), row("faster", 3.0, 2.5)]
    plain = {"order": 4, "bits": 2.5, "seconds": 1.25}
    *_, first, second, third, _, end, count = _table(
        {"models": models, "seconds": 9.0, "machine": "this one", "chance_bits": 5.0, "plain": plain}
    ).split("\n")
    assert first.startswith("| faster | 3.000 (2.900–3.100) | 8.00 | 2.50 | 50.0 % worse, 4.00 × as fast |")
    assert second.startswith("| default | 2.000 (1.900–2.100) | 4.00 | 10.00 |  |")
    assert third.startswith("| slower | 1.500 (1.400–1.600) | 2.83 | 20.00 | 25.0 % better, 0.50 × as fast |")
    assert end == "The search took 9 s on this one. A model that knows only how frequent bytes are takes 5.000 bits."
    assert count == "A plain count of up to 4 bytes takes 2.500 bits, and 1.2 s."


@pytest.mark.parametrize("order", [2, 3])
def test_the_plain_count_is_the_space_s_own(order: int, tmp_path: Path) -> None:
    """Of one text that is one window, n-grams of the space take the same bits with the published smoothing."""
    rng = np.random.default_rng(0)
    for title, size in (("train", 150), ("validation", 40), ("test", 120)):
        (tmp_path / "texts").mkdir(exist_ok=True)
        (tmp_path / "texts" / f"{title}.txt").write_bytes(rng.choice(list(b"abcd"), size).astype(np.uint8).tobytes())
    loading = Loading(folder=tmp_path)
    task = load_text("texts", loading, context=32, root=str(tmp_path / "tokens"))
    whole = np.full((2, 150), -1)
    for row, title in zip(whole, ("train", "validation"), strict=True):
        tokens = task.tokens.tokens(title)
        row[: len(tokens)] = tokens
    levels = count_ngrams(whole, 256, order)
    found = smooth(whole, levels, 256, WITTEN_BELL, 1.0)
    tested = np.asarray(task.tokens.tokens("test"), dtype=np.int64)[None]
    # The first token of a window is never told, but a plain count knows how often it came.
    assert plain_bits(task, order) == pytest.approx(_Found.of(levels, tested, 256).bits(found), abs=0.02)
