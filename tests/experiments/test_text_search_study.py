"""The comparison of a search of text with an untuned default: its recipe and its table."""

from __future__ import annotations

from typing import Any

import nas
from experiments.text_search import DEFAULT, _parser, _recipe, _table
from nas.space.search_space import architecture_from, load_space


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
    *_, first, second, third, _, end = _table(
        {"models": models, "seconds": 9.0, "machine": "this one", "chance_bits": 5.0}
    ).split("\n")
    assert first.startswith("| faster | 3.000 (2.900–3.100) | 8.00 | 2.50 | 50.0 % worse, 4.00 × as fast |")
    assert second.startswith("| default | 2.000 (1.900–2.100) | 4.00 | 10.00 |  |")
    assert third.startswith("| slower | 1.500 (1.400–1.600) | 2.83 | 20.00 | 25.0 % better, 0.50 × as fast |")
    assert end == "The search took 9 s on this one. A model that knows only how frequent bytes are takes 5.000 bits."
