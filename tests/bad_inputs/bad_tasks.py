"""Bad tasks and training functions: names that lead nowhere, members that do not fit, and data of another kind."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from bad_inputs.bad_input import BadInput
from made_up_tones import write_tones

SEARCH = ("search", "--executor", "inline", "--trials", "1", "--objective", "error")
HEAD = """
import numpy as np
import torch
import nas

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
ITEMS = [(X[n], n % 2) for n in range(12)]
"""
TASK = """
class Task(nas.Task):
    name, preparation = "own", None
    train = validation = test = ITEMS
    signature = nas.Signature((nas.TensorType("values", (4,)),), (2,))
    criterion = nas.Classification(2)
"""
OWN = """
class Tally:
    error = chance_error = 0.5
    def add(self, outputs, targets): pass

class Own:
    kind, metrics = "classification", ("error", "auc")
    def loss(self, outputs, targets, smoothing=0.0): return outputs.mean()
    def tally(self): return Tally()
"""
SCORES = "Tally.scores = lambda self: {}\n"
TRAIN = "def train(module, task, settings):\n    yield {'error': 0.5}\n"


def written(code: str, name: str = "own.py") -> Callable[[Path], object]:
    """Return what writes ``code`` into the module ``name``."""
    return lambda folder: (folder / name).write_text(textwrap.dedent(code), encoding="utf-8")


def task(members: str, *says: str, options: tuple[str, ...] = (), before: str = "") -> BadInput:
    """Return a search with a sound task that has these members too, which is refused."""
    code = HEAD + textwrap.dedent(before) + TASK + textwrap.indent(textwrap.dedent(members), "    ")
    return BadInput((*SEARCH, "--task", "own:Task", *options), says, written(code))


def preparing(members: str, file: str, *says: str, name: str = "files.py") -> BadInput:
    """Return a search with a task whose preparation lies in another file, which is refused."""

    def prepare(folder: Path) -> None:
        before = f"from {name.removesuffix('.py')} import Files\n"
        body = HEAD + before + TASK + "    preparation = Files()\n" + textwrap.indent(textwrap.dedent(members), "    ")
        (folder / "own.py").write_text(body, encoding="utf-8")
        (folder / name).write_text(textwrap.dedent(file), encoding="utf-8")

    return BadInput((*SEARCH, "--task", "own:Task"), says, prepare)


def named(name: str, *says: str) -> BadInput:
    """Return a search with a task of this name, which is refused."""
    return BadInput((*SEARCH, "--task", name), says, written(HEAD + TASK + "\n\ndef make():\n    return Task()\n"))


def trained(code: str, *says: str, name: str = "own:train", options: tuple[str, ...] = ()) -> BadInput:
    """Return a search with a training function, which is refused."""
    return BadInput((*SEARCH, "--data", "digits", "--train", name, *options), says, written(code))


def other(data: str, *says: str, prepare: Callable[[Path], object]) -> BadInput:
    """Return a search for images in data of another kind, which is refused."""
    return BadInput((*SEARCH, "--data", data), says, prepare)


FILES = """
class Files:
    def to_json(self):
        return {}
    def prepared(self, raw):
        return (raw[0] * SCALE,)

SCALE = 1
def preparation_of(about):
    return Files()
"""
FOUR_SIZES = "signature = nas.Signature((nas.TensorType('video', (1, 2, 2, 1)),), (2,))\n"
RESHAPED = "def inputs_of(self, raw):\n    return (raw[0].reshape(-1, 1, 2, 2, 1),)\n"

BAD_INPUTS = {
    "an item that ends the process": task(
        "train = Broken()",
        "train of the task Task raised ProcessExitError: os._exit(0) would end the search",
        before="class Broken:\n    def __len__(self):\n        return 12\n"
        "    def __getitem__(self, n):\n        import os\n        os._exit(0)\n",
    ),
    "items that are not numbers": task("train = [(['a', 'b'], 0)] * 12", "inputs and targets must become tensors"),
    "items of NaN": task(
        "train = [(X[n] * float('nan'), n % 2) for n in range(12)]",
        "of finite numbers, but values has NaN or infinite values",
    ),
    "items of several shapes": task(
        "train = [(X[n][: 2 + n % 3], n % 2) for n in range(12)]",
        "items of a data set must have the same shapes and types",
    ),
    "targets that are texts": task(
        "train = [(X[n], 'cat') for n in range(12)]", "inputs and targets must become tensors"
    ),
    "targets below zero": task("train = [(X[n], -1) for n in range(12)]", "Target -1 is out of bounds"),
    "targets that are None": task(
        "train = [(X[n], None) for n in range(12)]", "items of a data set must have the same shapes and types"
    ),
    "a split that is a generator": task("train = (item for item in ITEMS)", "object of type 'generator' has no len()"),
    "a split that is a number": task("validation = 3", "validation of the task Task raised TypeError"),
    "a split that has a negative length": task(
        "test = Odd()",
        "test of the task Task raised ValueError",
        before="class Odd:\n    def __len__(self):\n        return -1\n"
        "    def __getitem__(self, n):\n        return ITEMS[n]\n",
    ),
    "a type of values that is none": task(
        "signature = nas.Signature((nas.TensorType('values', (4,), 'float64'),), (2,))",
        "must be float32 or int64, but got 'float64'",
    ),
    "a size of nothing": task(
        "signature = nas.Signature((nas.TensorType('values', (0,)),), (2,))",
        "the sizes of the input values must be at least 1",
    ),
    "no outputs": task(
        "signature = nas.Signature((nas.TensorType('values', (4,)),), ())",
        "the sizes of an output must be at least 1, but got ()",
    ),
    "two inputs of one name": task(
        "signature = nas.Signature((nas.TensorType('a', (4,)), nas.TensorType('a', (4,))), (2,))",
        "inputs with different names, but got ['a', 'a']",
    ),
    "a criterion of one class": task(
        "criterion = nas.Classification(1)", "criterion of the task Task raised ValueError"
    ),
    "a name that is a number": task("name = 3", "the name of a task must be a text on one line, but that of Task is 3"),
    "a name on two lines": task("name = 'a\\nb'", "the name of a task must be a text on one line"),
    "inputs that are not the same twice": task(
        "def inputs_of(self, raw):\n    return (raw[0] + torch.rand(1),)", "must give the same numbers each time"
    ),
    "an answer that names other classes": task(
        "answers = {'kind': 'classification', 'names': ['a', 'b', 'c']}", "must name 2 classes, but got 3"
    ),
    "an answer that needs names": task(
        "answers = {'kind': 'classification', 'names': 3}", "must be a list of texts, but Task has 3"
    ),
    "a preparation that is a text": task(
        "preparation = 'scaled'", "preparation of the task Task raised AttributeError"
    ),
    "a misspelt task": named("image", "unknown task 'image'. Did you mean 'images'?"),
    "a task that is no class": named("own:X", "a task must be a class derived from nas.Task, but 'own:X' is tensor"),
    "a task of a function": named("own:make", "a task must be a class derived from nas.Task"),
    "no such task": named("own:Tusk", "Did you mean 'Task'?"),
    "no such module": named("none:Task", "names the module 'none', which is neither installed nor in"),
    "an option": task("", "has no option 'rate'", options=("--set", "data.rate=3")),
    "a constructor that fails": task(
        "def __init__(self):\n    raise OSError('no disk')", "cannot be made: OSError: no"
    ),
    "a constructor that exits": task("def __init__(self):\n    raise SystemExit(3)", "cannot be made: SystemExit"),
    "abstract members": BadInput(
        (*SEARCH, "--task", "own:Task"),
        ("the task 'own:Task' must give criterion, signature, but does not",),
        written("import nas\n\nclass Task(nas.Task):\n    pass\n"),
    ),
    "no data": task("train = None", "train of the task Task raised TypeError"),
    "an empty split": task("test = []", "each split of a task must have items, but test of Task has none"),
    "no pairs": task("train = [X[0], X[1]]", "an item of a data set must be a pair of inputs and a target"),
    "a signature that is none": task("signature = (4, 2)", "must be a nas.Signature, but that of Task is (4, 2)"),
    "inputs of another shape": task(
        "def inputs_of(self, raw):\n    return (raw[0][:, :3],)", "(4, 4) to (4, 2), but gave float32 of shape (4, 3)"
    ),
    "inputs of another type": task(
        "def inputs_of(self, raw):\n    return (raw[0].double(),)", "but gave float64 of shape (4, 4)"
    ),
    "inputs that are no tuple": task(
        "def inputs_of(self, raw):\n    return raw[0]", "in a tuple of tensors, but gave a Tensor"
    ),
    "inputs that cannot be made": task(
        "def inputs_of(self, raw):\n    return raw[7]", "inputs_of of the task Task raised"
    ),
    "augmented items of another shape": task(
        "def augmented(self, raw, generator):\n    return (raw[0][:, 1:],)",
        "augmented, then inputs_of, of the task Task",
    ),
    "a criterion that is none": task("criterion = 'error'", "criterion of the task Task raised AttributeError"),
    "a criterion of fewer classes": task("train = [(X[n], n) for n in range(12)]", "criterion of the task Task raised"),
    "answers of an unknown kind": task(
        "answers = {'kind': 'classes'}", "must be one of classification, multi-label, regression, next-token, but"
    ),
    "a tally without scores": task("criterion = Own()", "must have a method scores, but Tally has none", before=OWN),
    "scores that are numbers": task(
        "criterion = Own()", 'must give a nas.Score for "error"', before=OWN + SCORES.format('{"error": 0.5}')
    ),
    "metrics without a score": task(
        "criterion = Own()",
        "must be a tuple of names that scores() of its tally gives (error), but it has 'auc'",
        before=OWN + SCORES.format('{"error": nas.share_of_items(1, 2)}'),
    ),
    "answers that are none": task("answers = 'yes'", "must be a dict with a \"kind\", but those of Task are 'yes'"),
    "other numbers in a bundle": preparing(
        "",
        FILES.replace("SCALE = 1", "SCALE = 2"),
        "must give the same numbers, bit for bit, but values",
        "differs: by up",
    ),
    "torch in a bundle": preparing("", "import torch\n" + FILES, "files.py, line 1, imports torch", "to another file"),
    "a bundle that lacks a file": preparing(
        "", "from own import X\n" + FILES, "files.py, line 1, has 'from own import X'"
    ),
    "a bundle that lacks its package": preparing(
        "", FILES + "\ndef later():\n    from . import more\n", "line 13, has 'from . import more'"
    ),
    "a bundle without a way back": preparing(
        "", FILES.partition("SCALE = 1")[0] + "SCALE = 1\n", "with a function preparation_of(about)"
    ),
    "a preparation beside the task": BadInput(
        (*SEARCH, "--task", "own:Task"),
        ("must lie in a file of its own", "own.py, line 3, imports torch"),
        written(HEAD + FILES + TASK + "    preparation = Files()\n"),
    ),
    "a preparation called like ours": preparing(
        "", FILES, "is the name of another file that they carry", name="inputs.py"
    ),
    "data that fit no space": task(FOUR_SIZES + RESHAPED, "none is known for models of video (float32, 1×2×2×1) → 2"),
    "data that do not fit the space": task(
        "", "search space mobilenet takes images", "values, float32 of shape (4,)", options=("--space", "mobilenet")
    ),
    "a training function of another name": trained(TRAIN, "Did you mean 'train'?", name="own:trian"),
    "a training function without its module": trained(TRAIN, "unknown training function 'own'", name="own"),
    "a training function in a file": trained(TRAIN, "own:train", name="own.py:train"),
    "a training function of one argument": trained(
        "def train(module):\n    yield {}\n", "(module, task, settings), or (architecture, task, settings)", "(module)"
    ),
    "a training class": trained("class train:\n    pass\n", "a training function takes", "is <class 'own.train'>"),
    "an async training function": trained("async def train(a, b, c):\n    pass\n", "is an async function"),
    "a training function that cannot be imported": trained("1 / 0\n", "fails to import: ZeroDivisionError"),
    "a training function with shared weights": trained(
        TRAIN, "trains each candidate alone", options=("--evaluate", "supernet")
    ),
    "a training function and a growing subset": trained(
        TRAIN, "gets once", options=("--set", "early_stopping.grow_subset=true")
    ),
    "recordings as images": other(
        "folder:tones",
        "For .wav files, there is the task signals: --task signals --data tones",
        prepare=lambda folder: write_tones(folder / "tones", 3),
    ),
    "a text as images": other(
        "book.txt", "there is the task text: --task text --data book.txt", prepare=written("a\n", "book.txt")
    ),
    "a table as images": other("t.csv", "t.csv has a, y", '"tables"', prepare=written("a,y\n1,2\n", "t.csv")),
    "a folder of tables as images": other(
        "folder:.",
        "--task tables --data .",
        prepare=lambda folder: [written("a\n", "1.csv")(folder), (folder / "c").mkdir()],
    ),
}
