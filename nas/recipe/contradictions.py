"""Keys of a recipe that contradict each other: a table where nothing is looked up, a function that cannot train."""

from __future__ import annotations

from nas.recipe.sections import ExecutionRecipe, TableRecipe
from nas.recipe.training_sections import EarlyStoppingRecipe, TrainingRecipe


def check_table(table: TableRecipe, evaluate: str, space: str) -> None:
    """Check that a table is there where it is looked up in. Raises ValueError."""
    if evaluate == "table" and table.path is None:
        raise ValueError("evaluate = 'table' needs a table, but there is none: set table.path=table.csv.gz.")
    if evaluate != "table" and table.path is not None:
        raise ValueError(
            f"table.path needs evaluate = 'table', but got {evaluate!r} with table.path {table.path!r}: "
            "set evaluate=table, or leave the path out."
        )
    if space == "table" and evaluate != "table":
        raise ValueError(
            f"the space 'table' is rows to look up, so evaluate must be 'table', but got {evaluate!r}: "
            "set evaluate=table and table.path=table.csv.gz, or choose a space whose models can be trained."
        )


def check_gpus(device: str, execution: ExecutionRecipe, evaluate: str) -> None:
    """Check that workers that train on a GPU are given one. Raises ValueError."""
    gpus = execution.gpus_per_worker
    takes_none = gpus == 0 or (gpus is None and execution.ray_address is not None)
    trains_by_ray = evaluate != "table" and execution.executor != "inline"
    if device == "cuda" and trains_by_ray and takes_none:
        raise ValueError(
            'training.device "cuda" needs execution.gpus_per_worker, a share of one GPU or a whole number of them, '
            f"which in a cluster has no default, but got {gpus}. Give it, or train on the cpu."
        )


def check_function(training: TrainingRecipe, early_stopping: EarlyStoppingRecipe, evaluate: str) -> None:
    """Check that a training function of the user's own is asked for nothing that only our trainer does.

    Raises:
        ValueError: it is.
    """
    function = training.function
    if function is None:
        return
    if evaluate not in ("auto", "train", "zero-cost"):
        raise ValueError(
            f'training.function trains each candidate alone, so evaluate must be "train" or "zero-cost", but got '
            f'"{evaluate}" with {function!r}. Leave one of them out.'
        )
    if training.teacher is not None:
        raise ValueError(
            f"training.teacher teaches in the trainer of this project, but got {training.teacher!r} with "
            f"training.function {function!r}. Leave one of them out."
        )
    if early_stopping.grow_subset:
        raise ValueError(
            "early_stopping.grow_subset changes the training items after some epochs, which a function of your own "
            f"gets once, but got it with training.function {function!r}. Leave one of them out."
        )
