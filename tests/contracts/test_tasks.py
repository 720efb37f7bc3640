"""Contract of tasks, checked for every installed kind with the data that everybody has, and for plain data sets."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quick_training import SETTINGS
from torch.utils.data import TensorDataset

from nas.formats.export import export_onnx
from nas.space.plug_ins import plug_in_names
from nas.space.search_space import architecture_from, load_space
from nas.space.signature import Signature
from nas.space.tracing import build_checked, random_inputs
from nas.tasks.batches import Joined, in_order, items_at, targets_of
from nas.tasks.carrying import carried_files, preparation_in, recorded
from nas.tasks.data_sets import DataSetTask
from nas.tasks.data_source import DataSource
from nas.tasks.loading import Loading, load_task
from nas.tasks.task import Task, facts_of, metrics_of, words_of
from nas.tasks.usual_space import usual_space
from nas.training.trainer import Trainer
from nas.values.metric import METRICS

PLAIN = "plain data sets"
SMALL: dict[str, dict[str, Any]] = {"text": {"most_bytes": 20_000, "context": 16}}
"""Options that keep an example small."""
COMPARED = 100
"""Items whose inputs are compared between training and bundles."""
QUICK = replace(SETTINGS, epochs=5, batch_size=32, label_smoothing=0.0)


def plain() -> DataSetTask:
    """Return a task of three torch data sets: which of two numbers is larger."""
    generator = torch.Generator().manual_seed(0)
    sets = []
    for count in (300, 100, 100):
        numbers = torch.randn(count, 4, generator=generator)
        sets.append(TensorDataset(numbers, (numbers[:, 0] > numbers[:, 1]).long()))
    return DataSetTask(*sets)


@pytest.fixture(name="task", scope="module", params=[*plug_in_names("nas.tasks"), PLAIN])
def loaded_task(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Task:
    if request.param == PLAIN:
        return plain()
    options = SMALL.get(request.param, {})
    if request.param == "text":
        options = {**options, "root": str(tmp_path_factory.mktemp("tokens"))}
    return load_task(request.param, "digits" if request.param == "images" else "", Loading(), options)


def first(task: Task, count: int) -> Any:
    """Return the first items of the training split."""
    return items_at(task.train, slice(0, min(count, len(task.train))))


def fits(arrays: tuple[np.ndarray[Any, Any], ...], signature: Signature) -> bool:
    """Return True if arrays are inputs of models of this signature."""
    return len(arrays) == len(signature.inputs) and all(
        array.shape[1:] == each.shape
        and array.dtype == each.dtype
        and (not each.counts or bool((array >= 0).all() and (array < np.array(each.counts)).all()))
        for array, each in zip(arrays, signature.inputs, strict=True)
    )


def test_items_become_inputs_of_the_signature(task: Task) -> None:
    """In each split, by shape, type and range; none is empty, and all inputs are finite."""
    for examples in (task.train, task.validation, task.test):
        assert len(examples) > 0
        for batch in in_order(examples, 256):
            arrays = task.prepared(batch.raw)
            assert fits(arrays, task.signature)
            assert all(np.isfinite(array).all() for array in arrays)
            assert len(batch.targets) == len(arrays[0])


def test_training_and_bundles_give_the_same_inputs(task: Task) -> None:
    """Of 100 items, to the last bit: 0 differing values."""
    batch = first(task, COMPARED)
    trained = task.inputs_of(batch.raw)
    for array, tensor in zip(task.prepared(batch.raw), trained, strict=True):
        assert int((array != tensor.numpy()).sum()) == 0
    if task.preparation is not None:
        again = preparation_in(json.loads(json.dumps({"preparation": recorded(task.preparation)})))
        for array, tensor in zip(again.prepared(tuple(each.numpy() for each in batch.raw)), trained, strict=True):
            assert int((array != tensor.numpy()).sum()) == 0


def test_a_bundle_carries_code_that_needs_little(task: Task) -> None:
    """Each file of code imports numpy, what reads the data, and its neighbours: never this project or torch."""
    if task.preparation is None:
        pytest.skip("its bundles take prepared arrays")
    files = carried_files(task.preparation)
    assert {"predict.py", "inputs.py"} <= files.keys()
    for content in files.values():
        lines = [line.strip() for line in content.decode().splitlines()]
        assert not [line for line in lines if line.startswith(("import torch", "from torch", "import nas", "from nas"))]
    words = task.preparation.to_json()["in_words"]
    assert words
    assert all(isinstance(sentence, str) for sentence in words)


def test_items_come_in_the_order_that_is_asked_for(task: Task, rng: np.random.Generator) -> None:
    """Many at once are the same as one by one, and so are items of joined splits."""
    places = rng.permutation(len(task.train))[:9]
    together = items_at(task.train, places)
    for number, place in enumerate(places.tolist()):
        alone = items_at(task.train, slice(place, place + 1))
        assert all(torch.equal(a[number], b[0]) for a, b in zip(together.raw, alone.raw, strict=True))
        assert torch.equal(together.targets[number], alone.targets[0])
    joined = items_at(Joined((task.train, task.validation)), np.array([len(task.train), 0]))
    assert torch.equal(joined.raw[0][0], items_at(task.validation, slice(0, 1)).raw[0][0])


def test_a_larger_part_contains_a_smaller_one(task: Task) -> None:
    """So that early epochs on few items are no other data."""
    half, quarter = (task.part(share) for share in (0.5, 0.25))
    assert 0 < len(quarter) <= len(half) <= len(task.train)
    seen = {items.numpy().tobytes() for items in items_at(half, slice(0, len(half))).raw[0]}
    assert {items.numpy().tobytes() for items in items_at(quarter, slice(0, len(quarter))).raw[0]} <= seen
    assert len(task.to_fit(1.0, True)) == len(task.train) + len(task.validation)


def test_augmenting_keeps_shapes_and_types(task: Task) -> None:
    """And it depends on the generator alone."""
    raw = first(task, 20).raw
    once, again = (task.augmented(raw, torch.Generator().manual_seed(1)) for _ in range(2))
    assert [(each.shape, each.dtype) for each in once] == [(each.shape, each.dtype) for each in raw]
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


def test_corruptions_keep_shapes_and_depend_on_the_generator_alone(task: Task) -> None:
    """Every one changes something at full strength, less at a tenth of it, and leaves inputs that models take."""
    raw = first(task, 40).raw
    for name in task.corruptions:
        once, again = (task.corrupted(raw, name, 1.0, torch.Generator().manual_seed(1)) for _ in range(2))
        assert [(each.shape, each.dtype) for each in once] == [(each.shape, each.dtype) for each in raw]
        assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(once, again, strict=True))
        slightly = task.corrupted(raw, name, 0.1, torch.Generator().manual_seed(1))
        assert distance(task, raw, once) > distance(task, raw, slightly), name
        assert fits(task.prepared(once), task.signature)


def distance(task: Task, raw: Any, others: Any) -> float:
    """Return how far the models' inputs of two batches are apart, all in all."""
    pairs = zip(task.prepared(raw), task.prepared(others), strict=True)
    return float(sum(np.abs(one.astype(np.float64) - other).sum() for one, other in pairs))


def test_its_metrics_are_those_of_its_scores(task: Task) -> None:
    """Each name is one that recipes know, and the words for the error are its own."""
    tally = task.criterion.tally()
    for batch in in_order(task.test, 100):
        tally.add(torch.zeros(len(batch.targets), *task.signature.output), batch.targets)
    names = metrics_of(task)
    assert tuple(tally.scores()) == tuple(name for name in names if name != "noise_error")
    assert ("noise_error" in names) == bool(task.corruptions)
    assert all(METRICS[name].source == "trained" for name in names)
    assert words_of(task).noun == task.noun
    assert words_of(task).error


def test_a_useless_model_is_at_chance_or_worse(task: Task) -> None:
    """Scores hold the error first, each value within its interval, and the loss is finite."""
    tally = task.criterion.tally()
    for batch in in_order(task.test, 100):
        outputs = torch.zeros(len(batch.targets), *task.signature.output)
        assert math.isfinite(float(task.criterion.loss(outputs, batch.targets)))
        tally.add(outputs, batch.targets)
    scores = tally.scores()
    assert next(iter(scores)) == "error"
    assert scores["error"].value == pytest.approx(tally.error)
    assert tally.error >= tally.chance_error - 1e-6 > 0
    assert all(score.low <= score.value <= score.high for score in scores.values())


def test_what_is_recorded_is_plain(task: Task) -> None:
    """Facts, answers and the signature are JSON; warnings are sentences, and the fingerprint is twelve digits."""
    facts = json.loads(json.dumps(facts_of(task)))
    assert Signature.from_json(facts["signature"]) == task.signature
    assert json.loads(json.dumps(task.answers))["kind"] == task.criterion.kind
    assert len(task.fingerprint) == 12
    assert int(task.fingerprint, 16) >= 0
    assert all(isinstance(warning, str) for warning in task.warnings)
    assert task.in_words
    assert task.noun
    known = targets_of(task.train)
    assert known is None or len(known) == len(task.train)


def test_people_would_pick_a_space_that_learns_it(task: Task, tmp_path: Path) -> None:
    """The usual space builds models for it; five epochs make the smallest better than chance, and it exports."""
    name = task.default_space or usual_space(task.signature)
    assert name is not None
    space = load_space(name, {}, task.signature)
    smallest = architecture_from(space, {choice.name: choice.options[0] for choice in space.choices})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build_checked(space, smallest, task.signature)
        reports = list(Trainer(QUICK).train(module, task))
        export_onnx(module, task.signature.inputs, 1, tmp_path / "model.onnx")
        assert module(*random_inputs(task.signature.inputs, 2)).shape == (2, *task.signature.output)
    tally = task.criterion.tally()
    for batch in in_order(task.validation, 100):
        tally.add(torch.zeros(len(batch.targets), *task.signature.output), batch.targets)
    assert reports[-1]["error"] < tally.error


def test_a_source_loads_it_once(task: Task) -> None:
    """Workers load a task by its name once, and get the given object otherwise."""
    assert DataSource(given=task).load() is task
