"""``python -m experiments.text_search`` compares a search for a model of text with an untuned default and a count.

    python -m experiments.text_search --minutes 10 --us-per-token 25 --runs runs --json OUT.json

The text is the library of the Python that runs, or another one, by bytes. The search of transformers and n-grams
minimises error and latency under a limit per token: the latency of one window divided by its length. A model that reads
a text does one window for each ``context`` tokens. The plain count is what anybody writes in twenty lines: n-grams of
up to four bytes with Witten-Bell's smoothing, which see all bytes before and are not pruned. The default has the
proportions of nanoGPT's smallest example: 4 layers of width 128, 4 heads, a feed-forward network of four times the
width, learned positions and tied embeddings. It is trained with the settings of the search's winners, on the same
windows, exported and tested like them. All models are then measured together, in turns.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nas
from experiments.beside_winners import measured_in_turns, tested, train_like_winners
from experiments.command_line import heading, line, parser_of, positive
from nas.errors import NasError
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.machine import processor_name
from nas.space.architecture import Architecture, Option
from nas.space.search_space import architecture_from, load_space
from nas.storage.journal import write_aside
from nas.tasks.batches import items_at
from nas.tasks.data_source import DataSource
from nas.tasks.task import Task
from nas.training.settings import training_seed

DEFAULT: dict[str, Option] = {
    "depth": 4,
    "width": 128,
    "heads": 4,
    "heads_per_key": 1,
    "ff_ratio": 4,
    "positions": "learned",
    "norm": "layer",
    "tied": True,
}
"""nanoGPT's example for a small machine: https://github.com/karpathy/nanoGPT."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, train the default, measure all together, print a table, and write the JSON file."""
    options = _parser().parse_args(arguments)
    began = time.monotonic()
    try:
        recipe = nas.Recipe.from_mapping(_recipe(options))
        front = nas.search(recipe, runs=options.runs)
        seconds = time.monotonic() - began
        results = _compared(front, options)
    except NasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    record = {"seconds": seconds, "machine": processor_name(), "options": {**vars(options), "json": None}, **results}
    if options.json is not None:
        write_aside(options.json, (json.dumps(record, indent=2, default=str) + "\n").encode())
    print(_table(record))
    return 0


def _recipe(options: argparse.Namespace) -> dict[str, Any]:
    limit_ms = options.us_per_token * options.context / 1000
    return {
        "data": {"task": "text", "name": options.data, "context": options.context, "most_bytes": options.most_bytes},
        "space": _space(options.spaces),
        "target": "onnxruntime-cpu",
        "limits": [f"latency_ms <= {limit_ms:g}ms"],
        "trials": options.trials,
        "search_time_s": 60.0 * options.minutes,
        "seed": options.seed,
        "measuring": {"initial": 16, "per_round": 4},
        "training": {
            "epochs": 1,
            "subset": options.subset,
            "batch_size": 16,
            "learning_rate": 3e-3,
            "weight_decay": 0.1,
            "label_smoothing": 0.0,
        },
        "retraining": {"winners": 5, "epochs": options.epochs},
    }


def _space(names: Sequence[str]) -> dict[str, Any]:
    return {"name": "joined", "spaces": list(names)} if len(names) > 1 else {"name": names[0]}


def _compared(front: nas.Front, options: argparse.Namespace) -> dict[str, Any]:
    """Return the default's and the winners' scores, and their latencies measured together."""
    recipe = nas.load_run(front.run_folder).recipe
    source = DataSource(task="text", name=options.data, options=json.dumps(recipe.data.task_options))
    task = source.load()
    space = load_space("gpt", {}, task.signature)
    default = architecture_from(space, DEFAULT)
    winners = [winner for winner in front if winner.bundle is not None]
    named = [("default", default), *((winner.architecture.id, winner.architecture) for winner in winners)]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        train_like_winners(recipe, space, default, source, folder / "default.onnx", training_seed(recipe, default))
        models = [folder / "default.onnx", *(winner.bundle / "model.onnx" for winner in winners if winner.bundle)]
        latencies = measured_in_turns(models, recipe, BenchSettings(**recipe.measuring.bench_settings), folder)
        scored = [tested(path, task) for path in models]
    rows = [
        {
            "name": name,
            "architecture": dict(architecture),
            "bits_per_byte": list(scores["bits_per_byte"]),
            "perplexity": list(scores["perplexity"]),
            "latency_ms": [latency.median, latency.interval.lower, latency.interval.upper],
            "us_per_token": 1000 * latency.median / options.context,
        }
        for (name, architecture), scores, latency in zip(named, scored, latencies, strict=True)
    ]
    began = time.monotonic()
    plain = {"order": options.plain_order, "bits": plain_bits(task, options.plain_order)}
    return {
        "models": rows,
        "chance_bits": _chance_bits(task),
        "plain": {**plain, "seconds": time.monotonic() - began},
    }


def plain_bits(task: Any, order: int) -> float:
    """Return the bits of a test byte by interpolated n-grams of up to ``order`` bytes, with Witten-Bell's smoothing.

    The task is one of texts. Training and validation texts are counted whole, as a winner is trained on both.
    """
    counts: dict[bytes, Counter[int]] = defaultdict(Counter)
    for text in (*_texts(task, "train"), *_texts(task, "validation")):
        for place in range(len(text)):
            for length in range(min(order, place + 1)):
                counts[text[place - length : place]][text[place]] += 1
    sums = {context: found.total() for context, found in counts.items()}
    nats, tested = 0.0, 0
    for text in _texts(task, "test"):
        for place in range(1, len(text)):
            chance = 1 / task.vocabulary
            for length in range(min(order, place + 1)):
                if found := counts.get(context := text[place - length : place]):
                    chance = (found[text[place]] + len(found) * chance) / (sums[context] + len(found))
            nats -= np.log(chance)
            tested += 1
    return float(nats / np.log(2) / tested)


def _texts(task: Any, title: str) -> list[bytes]:
    tokens, ends = task.tokens.tokens(title).tobytes(), task.tokens.ends[title]
    return [tokens[start:end] for start, end in zip((0, *ends), ends, strict=False)]


def _chance_bits(task: Task) -> float:
    """Return the bits of a byte for a model that knows only how frequent bytes are in the test text."""
    targets = items_at(task.test, slice(0, len(task.test))).targets
    counts = torch.bincount(targets[targets >= 0])
    shares = counts[counts > 0].double() / counts.sum()
    return float(-(shares * shares.log2()).sum())


def _table(record: dict[str, Any]) -> str:
    default = next(row for row in record["models"] if row["name"] == "default")
    lines = heading(["model", "bits per byte", "perplexity", "µs per token", "against the default", "choices"])
    for row in sorted(record["models"], key=lambda row: row["us_per_token"]):
        bits, low, high = row["bits_per_byte"]
        lines.append(
            line(
                [
                    row["name"],
                    f"{bits:.3f} ({low:.3f}–{high:.3f})",
                    f"{row['perplexity'][0]:.2f}",
                    f"{row['us_per_token']:.2f}",
                    "" if row is default else _verdict(row, default),
                    Architecture(row["architecture"]).short,
                ]
            )
        )
    return "\n".join(
        [
            *lines,
            "",
            f"The search took {record['seconds']:.0f} s on {record['machine']}. "
            f"A model that knows only how frequent bytes are takes {record['chance_bits']:.3f} bits.",
            f"A plain count of up to {record['plain']['order']} bytes takes {record['plain']['bits']:.3f} bits, and "
            f"{record['plain']['seconds']:.1f} s.",
        ]
    )


def _verdict(row: dict[str, Any], default: dict[str, Any]) -> str:
    bits = row["bits_per_byte"][0] / default["bits_per_byte"][0]
    faster = default["us_per_token"] / row["us_per_token"]
    better = "better" if np.signbit(bits - 1) else "worse"
    return f"{abs(100 * (bits - 1)):.1f} % {better}, {faster:.2f} × as fast"


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("text_search", __doc__)
    parser.add_argument("--minutes", type=positive, default=10, help="time of the search")
    parser.add_argument("--us-per-token", type=float, default=25.0, help="the limit, in microseconds")
    parser.add_argument("--context", type=positive, default=64, help="tokens that a model sees together")
    parser.add_argument("--data", default="python", help="a text file, a folder of them, or python")
    parser.add_argument("--spaces", nargs="+", default=["gpt", "ngram"], metavar="SPACE", help="what is searched")
    parser.add_argument("--plain-order", type=positive, default=4, help="the longest n-grams of the plain count")
    parser.add_argument("--most-bytes", type=positive, default=600_000, help="size of the text")
    parser.add_argument("--subset", type=float, default=0.3, help="share of the text on which candidates train")
    parser.add_argument("--epochs", type=positive, default=2, help="epochs of winners and of the default")
    parser.add_argument("--trials", type=positive, default=40, help="most candidates")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the folder for the run")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
