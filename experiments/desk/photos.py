"""Twenty lines for photos: features of the frozen parent at each size, and scikit-learn's logistic regression."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import nas
from experiments.beside_winners import TESTED_TOGETHER
from experiments.desk.data_sets import SIZES
from experiments.desk.simple_models import Fitted, errors_of, linear_head, prepared_items
from experiments.pretrained import PARENT
from nas.formats.export import export_onnx

STRENGTHS = {"logisticregression__C": np.logspace(-5, 0, 6)}
FOLDS = 5


def fit_photos(weights: Path, task: nas.Task, seed: int, folder: Path) -> list[Fitted]:
    """Return the parent with a fitted head at each size. The strength of the regression is cross-validated.

    Raises:
        SystemExit: photos are not in colour.
    """
    channels, *_ = task.signature.inputs[0].shape
    if channels != 3:
        raise SystemExit(f"photos of the desk must have three channels, but those of {task.name} have {channels}.")
    parent = frozen_parent(weights / f"{PARENT}.safetensors", task.signature.classes)
    return [fit_head(parent, task.prepared_for(preparation_of(parent, size)), size, seed, folder) for size in SIZES]


def frozen_parent(path: Path, classes: int) -> Any:
    """Return the parent with the trained weights in a file, and a new head for so many classes."""
    import timm

    parent = timm.create_model(PARENT, num_classes=classes)
    own = parent.state_dict()
    trained = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("classifier.")}
    parent.load_state_dict({**own, **trained})
    return parent.eval()


def preparation_of(parent: Any, size: int) -> dict[str, Any]:
    """Return how the parent was given pictures in its own training, at another size."""
    from timm.data import resolve_model_data_config  # type: ignore[attr-defined]

    config = resolve_model_data_config(parent)  # type: ignore[no-untyped-call]
    return {
        "image_size": size,
        "mean": [float(value) for value in config["mean"]],
        "std": [float(value) for value in config["std"]],
        "crop": float(config["crop_pct"]),
        "interpolation": config["interpolation"],
    }


def fit_head(parent: Any, task: nas.Task, size: int, seed: int, folder: Path) -> Fitted:
    """Fit the head to training and validation photos, and export the whole model with the head."""
    photos, labels = prepared_items(task, task.train, task.validation)
    features = np.concatenate(list(features_of(parent, photos)))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    with threadpool_limits(1):  # the matrices are small, so that two threads wait for each other
        found = GridSearchCV(pipeline, STRENGTHS, cv=folds).fit(features, labels)
    scaler, regression = found.best_estimator_
    coefficients, intercepts = linear_head(regression.coef_, regression.intercept_)
    head = coefficients / scaler.scale_
    with torch.no_grad():
        parent.classifier.weight.copy_(torch.from_numpy(head))
        parent.classifier.bias.copy_(torch.from_numpy(intercepts - head @ scaler.mean_))
    model = folder / f"parent-{size}.onnx"
    export_onnx(parent, task.signature.inputs, 1, model)
    name = f"frozen parent at {size} px, logistic regression"
    return Fitted(name, 1 - float(found.best_score_), errors_of(model, task), model)


def features_of(parent: Any, photos: Any) -> Iterator[Any]:
    """Yield the features of prepared photos in batches."""
    with torch.inference_mode():
        for start in range(0, len(photos), TESTED_TOGETHER):
            batch = torch.from_numpy(np.ascontiguousarray(photos[start : start + TESTED_TOGETHER]))
            yield parent.forward_head(parent.forward_features(batch), pre_logits=True).numpy()
