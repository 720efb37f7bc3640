"""Bad settings of training: optimizers, teachers and searched settings that cannot be."""

from __future__ import annotations

from bad_inputs.bad_input import BadInput

TINY = ("search", "--data", "digits", "--dry-run")


def training(*settings: str, says: tuple[str, ...]) -> BadInput:
    """Return the case of these keys of ``[training]`` on the command line."""
    return BadInput((*TINY, *(word for each in settings for word in ("--set", f"training.{each}"))), says)


BAD_INPUTS = {
    "an unknown optimizer": training("optimizer=adamx", says=("must be one of timm's, but got 'adamx'",)),
    "an optimizer that needs second derivatives": training("optimizer=adahessian", says=("must be one of timm's",)),
    "an unknown schedule": training("schedule=cosin", says=("unknown value 'cosin'. Did you mean 'cosine'?",)),
    "an average that never moves": training("ema=1", says=("training.ema: input should be less than 1",)),
    "a negative alpha": training("mixup=-1", says=("training.mixup: input should be greater than or equal to 0",)),
    "a strength above 1": training("augmentation_strength=9", says=("input should be less than or equal to 1",)),
    "a precision of another kind": training("precision=int8", says=("unknown value 'int8'. Known: auto, bf16",)),
    "layers that learn faster below": training("layer_decay=1.5", says=("should be less than or equal to 1",)),
    "a cold teacher": training("temperature=0", says=("training.temperature: input should be greater than 0",)),
    "a teacher that is nowhere": training("teacher=runs/none", says=("is the folder of a winner", "runs/none")),
    "a teacher that is no module": training("teacher=math:sqrt", says=("math:sqrt raised",)),
    "a searched setting that is none": training(
        "search.learnig_rate=[0.1]", says=("got 'learnig_rate'. Did you mean 'learning_rate'?",)
    ),
    "a searched device": training('search.device=["cpu"]', says=("search must name keys of [training]",)),
    "one option that is no list": training("search.epochs=4", says=("search.epochs must be a list of options",)),
    "an option of another type": training('search.epochs=["many"]', says=("search.epochs has the option 'many'",)),
    "an option that comes twice": training("search.epochs=[2, 2]", says=("options of choice 'epochs' must differ",)),
    "settings of what is not trained": BadInput(
        (*TINY, "--evaluate", "zero-cost", "--set", "training.search.epochs=[2, 3]"),
        ('choices that affect training need evaluate = "train", but got "zero-cost"',),
    ),
}
