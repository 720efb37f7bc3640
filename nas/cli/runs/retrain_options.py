"""The options of ``nas retrain``, with their help texts."""

from __future__ import annotations

from typing import Annotated

import typer

from nas.cli.recipe_options import key_option

Top = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Retrain the first N winners of the front, and then the best candidates. [default: all winners]",
    ),
]
RetrainedIds = Annotated[
    list[str] | None,
    typer.Option(
        "--id", metavar="ID", help="Retrain the architecture with this id, or its beginning. Repeat for several."
    ),
]
MoreData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME",
        help="Further data to train on, such as folder:more-photos. Models are still tested on the run's own test "
        "items, and these are never trained on.",
    ),
]
RetrainedEpochs = Annotated[
    int | None, key_option("retraining.epochs", "--epochs", "N", default="the run's retraining.epochs")
]
RetrainedSeeds = Annotated[
    int | None, key_option("retraining.seeds", "--seeds", "N", default="the run's retraining.seeds")
]
RetrainedTeacher = Annotated[
    str | None,
    key_option(
        "retraining.teacher",
        "--teacher",
        "NAME",
        note="With none, there is no teacher.",
        default="the run's retraining.teacher",
    ),
]
RetrainedStart = Annotated[
    str | None,
    typer.Option(
        "--start",
        metavar="NAME",
        help="The weights to begin with: scratch, or winner for those of the last model. "
        "[default: the run's retraining.start]",
    ),
]
RetrainedSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A key of training for these trainings, such as training.ema=0.99, or one of execution.",
    ),
]
