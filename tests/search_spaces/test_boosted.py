"""The space of linear models and boosted trees: fitted modules equal scikit-learn's models, also when exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

import nas
from nas.formats.export import export_onnx, parity
from nas.formats.onnx_session import outputs_of
from nas.space.architecture import Architecture
from nas.space.signature import Signature, TensorType
from search_spaces import boosted, boosting_fits
from search_spaces.boosted import Boosted, LinearModel, TreeModel
from search_spaces.boosting_fits import encode_categories, fit_trees

Inputs = tuple[torch.Tensor, ...]
LINEAR = {"model": "linear"}
FEW, MANY = ({"model": "trees", "iterations": i, "depth": d} for i, d in ((10, 2), (40, 4)))


def signature_of(inputs: Inputs, outputs: int, counts: Sequence[int] = ()) -> Signature:
    types = [
        TensorType("numbers", (each.shape[1],))
        if each.is_floating_point()
        else TensorType("categories", (each.shape[1],), "int64", tuple(counts))
        for each in inputs
    ]
    return Signature(tuple(types), (outputs,))


def fitted(
    values: dict[str, Any],
    inputs: Inputs,
    targets: torch.Tensor,
    outputs: int,
    counts: Sequence[int] = (),
    seed: int = 0,
) -> LinearModel | TreeModel:
    space = Boosted(signature_of(inputs, outputs, counts))
    module = space.build(Architecture(values))
    module.fit(inputs, targets, seed)
    return module.eval()


def numbers_of(loader: Any) -> tuple[Inputs, torch.Tensor]:
    columns, targets = loader(return_X_y=True)
    scaled = (columns - columns.mean(0)) / columns.std(0)
    is_classes = targets.dtype.kind in "iu"
    wanted = targets if is_classes else ((targets - targets.mean()) / targets.std()).astype(np.float32)[:, None]
    return (torch.from_numpy(scaled.astype(np.float32)),), torch.from_numpy(wanted)


def mixed_rows(rows: int = 400, count: int = 40) -> tuple[Inputs, torch.Tensor]:
    """Two numbers and two columns of categories, of which the first alone decides the class."""
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(count, size=rows), rng.integers(3, size=rows)], axis=1)
    effects = rng.permutation(count)
    numbers = rng.normal(size=(rows, 2)).astype(np.float32)
    return (torch.from_numpy(numbers), torch.from_numpy(codes)), torch.from_numpy(effects[codes[:, 0]] % 2)


def outputs(module: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = module(*inputs)
    return found


def share_wrong(module: torch.nn.Module, inputs: Inputs, targets: torch.Tensor) -> float:
    return float((outputs(module, inputs).argmax(1) != targets).double().mean())


class Recorded(boosting_fits._Fitter):  # type: ignore[misc]
    """Keeps the models of scikit-learn, the last of which is copied."""

    models: list[Any] = []  # noqa: RUF012

    def fitted(self, *arguments: Any) -> Any:
        self.models.append(super().fitted(*arguments))
        return self.models[-1]


@pytest.fixture(name="models")
def recorded_models(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setattr(boosting_fits, "_Fitter", Recorded)
    monkeypatch.setattr(Recorded, "models", [])
    return Recorded.models


@pytest.mark.parametrize("values", [FEW, MANY])
@pytest.mark.parametrize(
    ("loader", "classes"), [(load_breast_cancer, 2), (load_wine, 3), (load_diabetes, 1)], ids=["2", "3", "number"]
)
def test_trees_give_what_scikit_learn_gives(
    loader: Any, classes: int, values: dict[str, Any], models: list[Any]
) -> None:
    """Also for rows that lie exactly at thresholds, and at the next number of 32 bits above and below them."""
    inputs, targets = numbers_of(loader)
    module = fitted(values, inputs, targets, classes)
    model = models[-1]
    rows = inputs[0].numpy().copy()
    for number, tree in enumerate(trees[0] for trees in model._predictors):
        for node in tree.nodes[~tree.nodes["is_leaf"].astype(bool)]:
            at = np.float32(node["num_threshold"])
            rows[number, node["feature_idx"]] = at
            rows[number + 40, node["feature_idx"]] = np.nextafter(at, np.float32(np.inf))
            rows[number + 80, node["feature_idx"]] = np.nextafter(at, np.float32(-np.inf))
    found = outputs(module, (torch.from_numpy(rows),)).double().numpy()
    if classes == 1:
        np.testing.assert_allclose(found[:, 0], model.predict(rows), rtol=1e-5, atol=1e-5)
    elif classes == 2:
        np.testing.assert_allclose(found[:, 1] - found[:, 0], model.decision_function(rows), rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_allclose(found, model.decision_function(rows), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("values", [LINEAR, FEW, MANY])
@pytest.mark.parametrize("shape", ["numbers", "mixed", "categories"])
@pytest.mark.parametrize("batch", [1, None])
def test_the_exported_file_gives_the_same(
    values: dict[str, Any], shape: str, batch: int | None, tmp_path: Path
) -> None:
    """In ONNX Runtime, of fitted modules, with one row in a batch and with any number."""
    inputs, targets = mixed_rows()
    inputs = {"numbers": inputs[:1], "mixed": inputs, "categories": inputs[1:]}[shape]
    counts = (40, 3) if shape != "numbers" else ()
    module = fitted(values, inputs, targets, 2, counts)
    path = tmp_path / "model.onnx"
    export_onnx(module, signature_of(inputs, 2, counts).inputs, batch, path)
    arrays = tuple(each.numpy() for each in inputs)
    parts = [tuple(each[place : place + 1] for each in arrays) for place in range(20)] if batch else [arrays]
    for part in parts:
        assert parity(module, path, part) < 1e-5
        assert outputs_of(path, part).shape == (len(part[0]), 2)


@pytest.mark.parametrize("values", [LINEAR, MANY])
def test_many_categories_are_learned(values: dict[str, Any]) -> None:
    """Forty categories without an order decide the class. Unseen ones give a finite answer."""
    inputs, targets = mixed_rows()
    shifted = (inputs[0], inputs[1] + 2)
    module = fitted(values, shifted, targets, 2, (42, 5))
    assert share_wrong(module, shifted, targets) < 0.02
    unknown = (inputs[0], torch.ones_like(inputs[1]))
    assert outputs(module, unknown).isfinite().all()


def test_categories_hold_no_row_s_own_target() -> None:
    """The means of rows whose categories are noise tell nothing of their targets."""
    rng = np.random.default_rng(0)
    codes, targets = rng.integers(200, size=(400, 1)), rng.integers(2, size=400)
    encoded = encode_categories(codes, targets, (200,), 1, 0)
    assert abs(np.corrcoef(encoded.columns[:, 0], targets)[0, 1]) < 0.15
    assert np.corrcoef(encoded.tables[codes[:, 0], 0], targets)[0, 1] > 0.5


@pytest.mark.parametrize("values", [LINEAR, MANY])
def test_the_seed_alone_decides(values: dict[str, Any]) -> None:
    inputs, targets = mixed_rows()
    first, second, other = (fitted(values, inputs, targets, 2, (40, 3), seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert values == LINEAR or any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("values", [LINEAR, FEW])
def test_one_class_is_always_answered(values: dict[str, Any]) -> None:
    inputs, _ = numbers_of(load_wine)
    for classes, label in ((2, 0), (2, 1), (4, 2)):
        module = fitted(values, inputs, torch.full((len(inputs[0]),), label), classes)
        assert (outputs(module, inputs).argmax(1) == label).all()


@pytest.mark.parametrize("values", [LINEAR, FEW])
def test_a_class_may_have_one_row_or_none(values: dict[str, Any]) -> None:
    """Others are learned as without it, and a class without rows is never answered."""
    inputs, targets = numbers_of(load_wine)
    targets[0] = 4
    module = fitted(values, inputs, targets, 5)
    assert share_wrong(module, inputs, targets) < 0.1
    assert not (outputs(module, inputs).argmax(1) == 3).any()


@pytest.mark.parametrize("values", [FEW, MANY])
@pytest.mark.parametrize("there", [(0, 1), (0, 3), (1, 2)])
def test_two_of_several_classes_are_told_apart(
    values: dict[str, Any], there: tuple[int, int], models: list[Any]
) -> None:
    """A fold may lack all others. Scikit-learn then makes one tree for each iteration, and not one for each class."""
    inputs, labels = numbers_of(load_breast_cancer)
    module = fitted(values, inputs, torch.tensor(there)[labels], 4)
    found = outputs(module, inputs).double().numpy()
    expected = models[-1].decision_function(inputs[0].numpy())
    np.testing.assert_allclose(found[:, there[1]] - found[:, there[0]], expected, rtol=1e-5, atol=1e-5)
    assert (found[:, there[0]] == 0).all()
    assert (np.delete(found, there, axis=1) == boosting_fits.NEVER).all()
    assert share_wrong(module, inputs, torch.tensor(there)[labels]) < 0.05


@pytest.mark.parametrize("values", [LINEAR, FEW])
@pytest.mark.parametrize("rows", [3, 12, 60])
def test_few_rows_and_constant_columns_are_fitted(values: dict[str, Any], rows: int) -> None:
    rng = np.random.default_rng(0)
    numbers = np.stack([rng.normal(size=rows), np.ones(rows)], axis=1).astype(np.float32)
    codes = torch.zeros(rows, 1, dtype=torch.int64)
    inputs = (torch.from_numpy(numbers), codes)
    for outputs_count, targets in ((2, numbers[:, 0] > 0), (1, numbers[:, :1])):
        wanted = torch.from_numpy(targets if outputs_count == 1 else targets.astype(np.int64))
        module = fitted(values, inputs, wanted, outputs_count, (3,))
        assert outputs(module, inputs).isfinite().all()


@pytest.mark.parametrize("values", [LINEAR, FEW])
def test_one_column_is_enough(values: dict[str, Any]) -> None:
    inputs, targets = numbers_of(load_wine)
    column = (inputs[0][:, :1],)
    assert share_wrong(fitted(values, column, targets, 3), column, targets) < 0.4


def test_numbers_are_predicted(models: list[Any]) -> None:
    """Both models explain far more than the mean does, and trees a step that no line explains."""
    numbers = torch.linspace(-2, 2, 300)[:, None]
    step = (numbers.abs() < 1).float() - 0.5
    for values, most in ((LINEAR, 0.3), (FEW, 0.02)):
        found = outputs(fitted(values, (numbers,), step, 1), (numbers,))
        assert float((found - step).square().mean()) < most
    inputs, targets = numbers_of(load_diabetes)
    assert float((outputs(fitted(LINEAR, inputs, targets, 1), inputs) - targets).square().mean()) < 0.6


@pytest.mark.slow
def test_trees_are_no_more_than_left_out_rows_want(models: list[Any]) -> None:
    """Numbers that tell nothing get few trees; the others of the module add nothing."""
    rng = np.random.default_rng(0)
    columns, targets = rng.normal(size=(200, 5)).astype(np.float32), rng.normal(size=200).astype(np.float32)
    found = fit_trees(columns, targets, 1, 320, 3, 0)
    assert models[-1].n_iter_ < 40
    assert (found.values[:, models[-1].n_iter_ :] == 0).all()
    assert found.values.shape == (1, 320, 8)


@pytest.mark.parametrize("values", [LINEAR, FEW])
def test_labels_and_several_numbers_are_refused(values: dict[str, Any]) -> None:
    inputs, _ = numbers_of(load_wine)
    with pytest.raises(ValueError, match=r"classes or one number for each row, but got targets of shape \(178, 2\)"):
        fitted(values, inputs, torch.zeros(178, 2), 2)


def test_a_search_begins_with_the_linear_model_and_some_trees() -> None:
    space = Boosted(Signature((TensorType("numbers", (5,)),), (2,)))
    assert [dict(each) for each in space.first] == [
        LINEAR,
        FEW,
        {"model": "trees", "iterations": 40, "depth": 3},
        {"model": "trees", "iterations": 160, "depth": 4},
    ]


@pytest.mark.parametrize("classes", [100, 2000])
def test_many_classes_get_fewer_iterations(classes: int) -> None:
    """So that the trees of all classes stay few enough. What a search begins with has options of the space."""
    space = Boosted(Signature((TensorType("numbers", (5,)),), (classes,)))
    assert space.choices[1].options == (10,)
    assert [each["model"] for each in space.first] == ["linear", "trees", "trees", "trees"]
    assert isinstance(space.build(space.first[1]), nas.FitsItself)


@pytest.mark.slow
def test_a_search_trains_exports_and_tests_them(tmp_path: Path) -> None:
    """Winners have been exported, measured and tested like networks."""
    frame = load_breast_cancer(as_frame=True).frame
    data = nas.Tabular.from_frame(frame, target="target", name="breast-cancer")
    quick = {"measuring": {"initial": 5, "per_round": 2, "rounds": 2, "max_rounds": 2}, "retraining": {"winners": 2}}
    recipe = {"trials": 4, "rounds": 1, "space": {"name": "boosted"}, "execution": {"executor": "inline"}, **quick}
    front = nas.search(recipe, data=data, runs=tmp_path, progress=None)
    assert front.best.test_error < 0.08
    (run,) = tmp_path.iterdir()
    rows = [row for row in nas.load_run(run).rows if row.stage == "train"]
    assert not any(row.failed for row in rows)
    trained = {row.architecture["model"] for row in rows}
    assert trained == {"linear", "trees"}


def test_a_wide_linear_model_is_fitted_to_some_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows with two thousand categories would take 56 GB."""
    inputs, targets = mixed_rows(400, 40)
    whole = fitted(LINEAR, inputs, targets, 2, (40, 3))
    monkeypatch.setattr(boosted, "MOST_VALUES", 300 * (2 + 40 + 3))
    with pytest.warns(UserWarning, match="is fitted to 300 random rows of 400, to save memory"):
        part = fitted(LINEAR, inputs, targets, 2, (40, 3))
    assert share_wrong(part, inputs, targets) < 0.1
    assert not torch.allclose(outputs(whole, inputs), outputs(part, inputs))
