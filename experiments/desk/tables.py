"""Twenty lines for tables: a linear model, and HistGradientBoosting as it is and tuned by a small grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from torch import nn

import nas
from experiments.desk.simple_models import Fitted, errors_of, linear_head, prepared_items
from nas.formats.export import export_onnx
from nas.tasks.tabular.boosting import fitted_boosting

FOLDS = 5
STRENGTHS = np.logspace(-3, 3, 7)
TREES = {"learning_rate": [0.03, 0.1], "max_leaf_nodes": [7, 31], "max_iter": [50, 100, 200]}


def fit_tables(task: nas.Task, seed: int, folder: Path) -> list[Fitted]:
    """Return the linear model and both kinds of trees. All of them are cross-validated on the same folds."""
    rows, targets = prepared_items(task, task.train, task.validation)
    is_classes = targets.ndim == 1
    folds = (StratifiedKFold if is_classes else KFold)(FOLDS, shuffle=True, random_state=seed)

    def cross_validated(model: Any, grid: dict[str, Any]) -> Any:
        scoring = "accuracy" if is_classes else "neg_mean_squared_error"
        return GridSearchCV(model, grid, cv=folds, scoring=scoring).fit(rows, targets.reshape(len(targets)))

    def fitted(name: str, found: Any, model: Path) -> Fitted:
        validation = 1 - found.best_score_ if is_classes else -found.best_score_
        return Fitted(name, float(validation), errors_of(model, task), model)

    linear: Any = LogisticRegression(max_iter=2000) if is_classes else Ridge()
    found = cross_validated(linear, {"C" if is_classes else "alpha": STRENGTHS})
    write_linear(found.best_estimator_, is_classes, task, folder / "linear.onnx")
    models = [fitted("logistic regression" if is_classes else "ridge", found, folder / "linear.onnx")]
    maker = HistGradientBoostingClassifier if is_classes else HistGradientBoostingRegressor
    for name, file, grid in (("trees as they are", "trees", {}), ("trees, tuned", "tuned", TREES)):
        found = cross_validated(maker(random_state=0), grid)
        path = folder / f"{file}.onnx"
        path.write_bytes(fitted_boosting((rows,), targets, task.signature, 1, **found.best_params_))
        models.append(fitted(name, found, path))
    return models


def write_linear(model: Any, is_classes: bool, task: nas.Task, path: Path) -> None:
    """Export a linear model of scikit-learn."""
    weights, biases = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if is_classes:
        weights, biases = linear_head(weights, biases)
    module = nn.Linear(weights.shape[1], weights.shape[0])
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weights))
        module.bias.copy_(torch.from_numpy(biases))
    export_onnx(module.eval(), task.signature.inputs, 1, path)
