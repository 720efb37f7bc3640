"""The process in which NePS proposes: it runs in an environment of its own, and knows nothing of this project.

It reads one JSON object a line. The first holds ``seed``, ``choices`` (each with its number of options), ``centers``
(for each objective the indexes of the options that are believed to be good), ``confidence``, and ``epochs``, those of a
whole training, or null if all evaluations are whole. Then ``{"ask": true}`` is answered by a trial and its epochs, and
``{"tell": trial, "losses": [...]}`` by ``{}``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import warnings
from typing import Any

import neps
import numpy as np
import torch
from neps.optimizers import algorithms
from neps.space import HPOCategorical, HPOInteger, SearchSpace

FIDELITY = "fidelity"


def optimizer_of(request: dict[str, Any]) -> neps.AskAndTell:
    """Make PriMO. It insists on a fidelity: without epochs, bounds are so near that each evaluation is a whole one."""
    space: dict[str, Any] = {
        name: HPOCategorical(choices=list(range(count))) for name, count in request["choices"].items()
    }
    space[FIDELITY] = HPOInteger(lower=1, upper=request["epochs"] or 2, is_fidelity=True)
    confidence = {
        objective: dict.fromkeys(center, request["confidence"]) for objective, center in request["centers"].items()
    }
    return neps.AskAndTell(
        algorithms.primo(SearchSpace(space), prior_centers=request["centers"], prior_confidences=confidence or None)
    )


def main() -> None:
    """Answer requests until there are none."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what NePS prints is no answer
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    request = json.loads(sys.stdin.readline())
    np.random.seed(request["seed"])  # noqa: NPY002 NePS draws from it
    torch.manual_seed(request["seed"])
    optimizer = optimizer_of(request)
    answers.write("{}\n")
    for line in sys.stdin:
        request = json.loads(line)
        if request.get("ask"):
            trial = optimizer.ask()
            config = {name: int(value) for name, value in trial.config.items() if name != FIDELITY}
            answer = {"trial": trial.metadata.id, "config": config, "epochs": int(trial.config[FIDELITY])}
            answers.write(json.dumps(answer) + "\n")
        else:
            optimizer.tell(request["tell"], request["losses"])
            answers.write("{}\n")


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # whoever asked is gone
        main()
