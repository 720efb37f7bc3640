"""Simple models of rows that belong together: their strengths are chosen by whole groups that are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from quick_training import SETTINGS
from sklearn.linear_model import Ridge

import nas
from nas.tasks.batches import Joined, Part, groups_of, items_at
from nas.tasks.criteria import Classification, Regression
from nas.tasks.tabular.tabular import Tabular
from nas.training.regressions import ALPHAS, parts_left_out, regression, without
from search_spaces import ridge
from search_spaces.boosted import Boosted
from search_spaces.ridge import fit_ridge
from search_spaces.rocket import Rocket

GROUPS, EACH = 60, 5


def patients(*, numbers: bool = False) -> Tabular:
    """Return rows that tell who the patient is, and hardly what the patient has: one number says that, with noise."""
    rng = np.random.default_rng(4)
    patient = np.repeat(np.arange(GROUPS), EACH)
    rng.shuffle(patient)
    ill = rng.permutation(GROUPS) % 2
    who = rng.normal(0, 1, (GROUPS, 20))[patient] + rng.normal(0, 0.1, (len(patient), 20))
    frame = pandas.DataFrame(who, columns=[f"x{number}" for number in range(20)])
    frame["sign"] = ill[patient] + rng.normal(0, 1.5, len(patient))
    y = ill[patient] + rng.normal(0, 0.01, len(patient)) if numbers else np.where(ill[patient], "ill", "well")
    frame = frame.assign(patient=[f"p{number}" for number in patient], y=y)
    return Tabular.from_frame(frame, target="y", group="patient")


def loss_of(task: Tabular, architecture: dict[str, object], *, by_groups: bool) -> float:
    """Return the loss of a fitted model on the patients of the test."""
    module = Boosted(task.signature).build(nas.Architecture(architecture))  # type: ignore[arg-type]
    items, tested = items_at(task.train, slice(0, len(task.train))), items_at(task.test, slice(0, len(task.test)))
    groups = groups_of(task.train) if by_groups else None
    module.fit(task.inputs_of(items.raw), items.targets, 0, groups)  # type: ignore[operator]
    with torch.no_grad():
        return float(task.criterion.loss(module.eval()(*task.inputs_of(tested.raw)), tested.targets))


MODELS: dict[str, dict[str, object]] = {
    "linear": {"model": "linear"},
    "trees": {"model": "trees", "iterations": 20, "depth": 3},
}


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [False, True], ids=["classes", "numbers"])
@pytest.mark.parametrize("model", MODELS)
def test_patients_that_were_not_seen_are_told_better(model: str, numbers: bool) -> None:
    """By rows of the same patients the least regularised model looks best, which knows patients and nothing else."""
    task = patients(numbers=numbers)
    by_rows, by_groups = (loss_of(task, MODELS[model], by_groups=each) for each in (False, True))
    assert by_groups < 0.9 * by_rows


@pytest.mark.slow
def test_the_trainer_tells_the_groups() -> None:
    task = patients()
    module = Boosted(task.signature).build(nas.Architecture({"model": "linear"}))
    report = list(nas.Trainer(SETTINGS).train(module, task, 0))[-1]
    weights = module.state_dict()
    again = Boosted(task.signature).build(nas.Architecture({"model": "linear"}))
    items = items_at(task.train, slice(0, len(task.train)))
    again.fit(task.inputs_of(items.raw), items.targets, 0, groups_of(task.train))  # type: ignore[operator]
    assert report["fitted"]
    assert all(torch.equal(value, weights[name]) for name, value in again.state_dict().items())


def test_the_head_of_fixed_kernels_takes_groups() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(96) % 12
    signals = torch.from_numpy(rng.normal(0, 1, (12, 1, 40))[groups] + rng.normal(0, 0.2, (96, 1, 40))).float()
    targets = torch.from_numpy(groups % 2)
    fits = []
    for known in (None, groups):
        module = Rocket((1, 40), 2).build(nas.sample(Rocket((1, 40), 2), np.random.default_rng(0)))
        module.fit((signals,), targets, 0, known)  # type: ignore[operator]
        fits.append(module.eval()(signals).abs().mean())
    assert fits[1] < 0.5 * fits[0]  # who it is decides all, so nothing is known of others


@pytest.mark.parametrize("most", [None, 30])
def test_no_group_is_in_two_parts(most: int | None) -> None:
    groups = np.random.default_rng(0).integers(0, 7, 60)
    parts = parts_left_out(60, 5, 0, groups, most)
    places = np.concatenate(parts)
    assert len({*places.tolist()}) == len(places) == (most or 60)
    for place, part in enumerate(parts):
        assert not {*groups[part].tolist()} & {*groups[without(parts, place)].tolist()}
    assert len(parts_left_out(60, 5, 0, groups % 2)) == 2
    assert len(parts_left_out(60, 5, 0, groups * 0)) == 5


def test_parts_of_data_know_their_groups(tmp_path: Path) -> None:
    task = patients()
    known = groups_of(task.train)
    assert known is not None
    assert np.array_equal(groups_of(Part(task.train, np.array([3, 5]))), known[[3, 5]])  # type: ignore[arg-type]
    joined = groups_of(Joined((task.train, task.validation)))
    assert joined is not None
    assert not {*joined[: len(known)].tolist()} & {*joined[len(known) :].tolist()}


def test_groups_do_not_count_where_one_holds_a_class() -> None:
    """Three patients of a class leave one for training: what is fitted without it says nothing of its class."""
    labels, groups = np.repeat([0, 1], 30), np.repeat([0, 1], 30)
    assert len(parts_left_out(60, 5, 0, groups, classes=labels)) == 5
    assert len(parts_left_out(60, 5, 0, np.arange(60) % 3, classes=labels)) == 3
    rng = np.random.default_rng(0)
    features = (rng.normal(0, 1, (60, 8)) + 3 * labels[:, None]).astype(np.float32)
    for one, other in zip(fit_ridge(features, labels, 2), fit_ridge(features, labels, 2, groups), strict=True):
        assert np.array_equal(one, other)
    whole = regression(torch.from_numpy(features), torch.from_numpy(labels), Classification(2), 0, groups=groups)
    assert np.abs(whole(features) - regression(torch.from_numpy(features), torch.from_numpy(labels),
        Classification(2), 0)(features)).max() == 0  # fmt: skip


def test_large_groups_are_left_out_item_by_item(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording of an hour has tens of thousands of windows, whose matrix would need gigabytes."""
    rng = np.random.default_rng(0)
    features, groups = rng.normal(0, 1, (60, 8)).astype(np.float32), np.arange(60) % 6
    values = features[:, :1] + rng.normal(0, 1, (6, 1))[groups]
    by_items, by_groups = fit_ridge(features, values, 1), fit_ridge(features, values, 1, groups)
    assert not np.array_equal(by_items[0], by_groups[0])
    monkeypatch.setattr(ridge, "MOST_WORK", 10)
    assert np.array_equal(by_items[0], fit_ridge(features, values, 1, groups)[0])


def test_one_value_for_each_group_is_regressed_with_care() -> None:
    """The strength has the least squared error in parts: as shares of what varies in a group, all would be equal."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(5), 12)
    features = rng.normal(0, 1, (5, 40))[groups] + rng.normal(0, 0.1, (60, 40))
    values = rng.normal(0, 1, (5, 1))[groups]
    found = regression(torch.from_numpy(features), torch.from_numpy(values), Regression(), 0, groups=groups)(features)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    parts = parts_left_out(60, 5, 0, groups)
    errors = []
    for alpha in ALPHAS:
        models = [Ridge(alpha).fit(scaled[each], values[each, 0]) for each in (without(parts, n) for n in range(5))]
        missed = [model.predict(scaled[left]) - values[left, 0] for model, left in zip(models, parts, strict=True)]
        errors.append(float(np.square(np.concatenate(missed)).sum()))
    best = Ridge(ALPHAS[int(np.argmin(errors))]).fit(scaled, values[:, 0]).predict(scaled)
    np.testing.assert_allclose(found[:, 0], best, atol=1e-6)
