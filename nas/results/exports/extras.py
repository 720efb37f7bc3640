"""Packages that only some exports need: they are imported when they are used, and a missing one is named."""

from __future__ import annotations

import importlib
import os
from typing import Any

from nas.errors import RecipeError

PACKAGES = {"mlflow": "mlflow-skinny", "tensorboardX": "tensorboardX"}
EXTRAS = {"mlflow": "mlflow", "tensorboardX": "tensorboard"}


def extra(module: str) -> Any:
    """Return a module of an optional package, such as ``mlflow`` or ``tensorboardX.summary``.

    Raises:
        RecipeError: the package is not installed; the message names the extra to install.
    """
    package = module.partition(".")[0]
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing is sent anywhere unless a user wants it
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != package:
            raise
        name = EXTRAS[package]
        raise RecipeError(
            f"{name} needs the package {PACKAGES[package]}, which is not installed: pip install 'nas[{name}]'."
        ) from error
