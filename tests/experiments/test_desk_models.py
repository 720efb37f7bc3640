"""The simple models of the desk table: what they compute, how they are chosen, and that they are kept."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nas
from experiments import beside_winners
from experiments.desk.data_sets import DataSet
from experiments.desk.series import LENGTH, TAPS, MiniRocket, fit_series
from experiments.desk.simple_models import (
    Fitted,
    Simple,
    SimpleModels,
    errors_of,
    linear_head,
    prepared_items,
    simple_models,
    thread_ms,
)
from experiments.desk.tables import fit_tables
from experiments.desk.texts import NGrams, fit_texts, packed
from nas.formats.export import export_onnx
from nas.tasks.tabular.boosting import fitted_boosting

WINE = DataSet("wine", "tables", "tables", "wine")


def text_set(folder: Path) -> DataSet:
    """Return a text of few words, in an order that is random."""
    rng = np.random.default_rng(0)
    words = [" ".join(rng.choice(["one", "three", "seven", "many"], 12)) for _ in range(400)]
    (folder / "words.txt").write_text("\n".join(words))
    return DataSet("words", "text", "text", str(folder / "words.txt"))


def waves(folder: Path) -> DataSet:
    """Return series of two classes with different periods, under noise."""
    rng = np.random.default_rng(0)
    for title, count in (("TRAIN", 30), ("TEST", 20)):
        lines = ["@classLabel true a b", "@data"]
        for number in range(count):
            values = np.sin(np.arange(40) * (0.4 + 0.6 * (number % 2)) + rng.random()) + rng.normal(0, 0.1, 40)
            lines.append(f"{','.join(f'{value:.4f}' for value in values)}:{'ab'[number % 2]}")
        (folder / f"Waves_{title}.ts").write_text("\n".join(lines))
    return DataSet("waves", "series", "signals", str(folder / "Waves_TRAIN.ts"))


def simple(name: str, validation: float, error: float, latency_ms: float) -> Simple:
    return Simple(name, validation, error, latency_ms, None, None, Path())


def test_validation_chooses_among_simple_models_within_the_limit() -> None:
    """The test error plays no part. Of equally good ones the fastest is taken."""
    lucky, chosen, fast = simple("lucky", 0.3, 0.0, 1.0), simple("chosen", 0.1, 0.4, 4.0), simple("fast", 0.3, 0.5, 0.5)
    models = SimpleModels((lucky, chosen, fast), 1.0)
    assert models.best() is chosen
    assert models.limit_ms == 2.0
    assert models.best(2.0) is fast
    assert models.best(0.1) is None


def test_simple_models_are_kept_and_a_fit_that_was_killed_is_repeated(tmp_path: Path) -> None:
    calls = []

    def fit(task: nas.Task, seed: int, folder: Path) -> list[Fitted]:
        calls.append(seed)
        if len(calls) == 1:
            (folder / "half.onnx").write_bytes(b"half")
            raise KeyboardInterrupt
        return [Fitted("made up", 0.2, np.array([0.0, 1.0]), pipeline_ms=3.0)]

    folder = tmp_path / "simple"
    with pytest.raises(KeyboardInterrupt):
        simple_models(WINE, 7, fit, folder)
    first = simple_models(WINE, 7, fit, folder)
    assert simple_models(WINE, 7, fit, folder) == first
    assert calls == [7, 7]
    assert not (folder / "half.onnx").exists()
    (model,) = first.models
    assert (model.error, model.latency_ms) == (0.5, 3.0)
    assert np.load(model.errors).tolist() == [0.0, 1.0]


def test_simple_models_of_tables(tmp_path: Path) -> None:
    """They learn, the ONNX files are measured, and their errors are those of the product's own test."""
    found = simple_models(WINE, 0, fit_tables, tmp_path / "wine")
    task = WINE.load()
    assert [each.name for each in found.models] == ["logistic regression", "trees as they are", "trees, tuned"]
    for each in found.models:
        assert each.error < 0.15
        assert each.validation < 0.15
        assert 0 < each.latency_ms < 1
        assert each.model is not None
        assert each.error == pytest.approx(beside_winners.tested(each.model, task)["error"].value)


def test_a_linear_model_of_numbers_is_a_ridge(tmp_path: Path) -> None:
    task = DataSet("diabetes", "tables", "tables", "diabetes").load()
    first, *_ = fit_tables(task, 0, tmp_path)
    assert first.name == "ridge"
    assert 0.3 < first.errors.mean() < 0.8


def test_trees_take_settings() -> None:
    """One iteration of trees with two leaves makes a far smaller file than the defaults."""
    task = WINE.load()
    rows, labels = prepared_items(task, task.train)
    usual = fitted_boosting((rows,), labels, task.signature, 1)
    assert 20 * len(fitted_boosting((rows,), labels, task.signature, 1, max_iter=1, max_leaf_nodes=2)) < len(usual)


def test_two_classes_have_logits_of_both() -> None:
    weights, biases = linear_head(np.array([[2.0, -4.0]]), np.array([1.0]))
    assert (weights[1] - weights[0]).tolist() == [2.0, -4.0]
    assert biases[1] - biases[0] == 1.0


def test_simple_models_of_series(tmp_path: Path) -> None:
    found = simple_models(waves(tmp_path), 0, fit_series, tmp_path / "simple")
    assert [each.error for each in found.models] == [0.0, 0.0, 0.0]
    latencies = [each.latency_ms for each in found.models]
    assert latencies == sorted(latencies)
    assert all(each.pipeline_ms is not None and each.pipeline_ms > 0 for each in found.models)


def test_kernels_are_convolutions() -> None:
    """Of some channels, with three weights of 2 and six of -1; the biases are quantiles of a series' outputs."""
    series = np.random.default_rng(0).normal(size=(5, 3, 50))
    transform = MiniRocket.of(series, 504, np.random.default_rng(1))
    features = transform(series)
    assert features.shape == (5, 504)
    assert features.std(axis=1).min() > 0.1
    for kernel in transform.kernels[::37]:
        weights = np.full(LENGTH, -1.0)
        weights[list(kernel.taps)] = 2
        spread = np.zeros((LENGTH - 1) * kernel.dilation + 1)
        spread[:: kernel.dilation] = weights
        summed = series[2][kernel.channels].sum(axis=0)
        expected = np.correlate(summed, spread, mode="same" if kernel.is_padded else "valid")
        np.testing.assert_allclose(kernel.outputs(series)[2], expected, atol=1e-9)
    assert {kernel.taps for kernel in transform.kernels} == set(TAPS)
    assert {len(kernel.channels) for kernel in transform.kernels} == {1, 2, 3}


def slow_probability(text: bytes, history: bytes, byte: int, order: int) -> float:
    """Return the probability by the definition, from counts in dictionaries."""
    followers: dict[bytes, Counter[int]] = defaultdict(Counter)
    for size in range(order):
        for place in range(size, len(text)):
            followers[text[place - size : place]][text[place]] += 1
    share = 1 / 256
    for size in range(min(order, len(history) + 1)):
        seen = followers.get(history[len(history) - size :])
        if seen:
            share = (seen[byte] + len(seen) * share) / (seen.total() + len(seen))
    return share


def test_n_grams_are_those_of_the_definition() -> None:
    text, other = b"abracadabra, a cadaver", b"abra cadabro!"
    (found,) = NGrams.of([np.frombuffer(text, np.uint8)], 4).probabilities([np.frombuffer(other, np.uint8)])
    expected = [slow_probability(text, other[:place], other[place], 4) for place in range(len(other))]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    every = NGrams.of([np.frombuffer(text, np.uint8)], 4)
    sums = [every.probabilities([np.frombuffer(b"dab" + bytes([byte]), np.uint8)])[0][3] for byte in range(256)]
    assert sum(sums) == pytest.approx(1.0)


def test_n_grams_never_reach_into_another_text() -> None:
    both = [np.frombuffer(each, np.uint8) for each in (b"abab", b"xyxy")]
    pairs = NGrams.of(both, 2).counts[1].grams
    assert set(pairs) == set(packed(both[0], 2)) | set(packed(both[1], 2))


def test_n_grams_are_tested_on_the_windows_of_the_task(tmp_path: Path) -> None:
    data = text_set(tmp_path)
    task = data.load()
    found = simple_models(data, 0, fit_texts, tmp_path / "simple")
    errors = [each.error for each in found.models]
    assert max(errors) < 0.3
    assert found.best() == min(found.models, key=lambda each: each.validation)
    assert {len(np.load(each.errors)) for each in found.models} == {len(task.test)}


class Guess(nn.Module):
    """Logits for each token that depend on the token alone."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, vocabulary)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.table(tokens)
        return found


@pytest.mark.parametrize("kind", ["text", "classes", "values"])
def test_errors_of_items_have_the_mean_that_the_product_tells(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    name = {"text": "", "classes": "wine", "values": "diabetes"}[kind]
    task = (text_set(tmp_path) if kind == "text" else DataSet(name, "tables", "tables", name)).load()
    (given,) = task.signature.inputs
    module = Guess(256) if kind == "text" else nn.Linear(given.shape[0], *task.signature.output)
    model = tmp_path / "guess.onnx"
    export_onnx(module.eval(), task.signature.inputs, 1, model)
    errors = errors_of(model, task)
    assert errors.shape == (len(task.test),)
    assert errors.mean() == pytest.approx(beside_winners.tested(model, task)["error"].value, rel=1e-5)


def test_a_prediction_is_timed() -> None:
    quick, slow = (thread_ms(partial(sum, range(count))) for count in (1_000, 300_000))
    assert 0 <= quick < slow


def test_items_come_in_order() -> None:
    task = WINE.load()
    inputs, targets = prepared_items(task, task.train, task.validation)
    assert len(inputs) == len(targets) == len(task.train) + len(task.validation)
    assert list(itertools.islice(targets, 3)) == [int(task.train[place][1]) for place in range(3)]
