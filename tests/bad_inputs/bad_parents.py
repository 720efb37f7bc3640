"""Bad parents: models that are none, weights that do not fit, and options of ``nas shrink`` that make no sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from bad_inputs.bad_input import BadInput
from safetensors.torch import save_file
from small_parents import make_digits

Prepare = Callable[[Path], object]
STATE = make_digits().state_dict()
HEAD = "import torch\nfrom torch import nn\nfrom small_parents import ThreeStages, make_digits\n"
WEIGHTS = "w.safetensors"


def nothing(here: Path) -> None:
    """Prepare nothing."""


def shrunk(parent: str, *says: str, prepare: Prepare = nothing, options: tuple[str, ...] = ()) -> BadInput:
    """Return the case of a model that is to be made smaller for digits."""
    arguments = ("shrink", parent, "--data", "digits", "--target", "onnxruntime-cpu", "--dry-run", *options)
    return BadInput(arguments, says, prepare)


def own(code: str, *says: str, name: str = "make") -> BadInput:
    """Return the case of a parent that this code makes."""
    return shrunk(f"own:{name}", *says, prepare=lambda here: (here / "own.py").write_text(HEAD + code))


def weights(write: Callable[[Path], object], *says: str, name: str = WEIGHTS) -> BadInput:
    """Return the case of a sound parent with weights that ``write`` writes."""
    return shrunk(
        "small_parents:make_digits", *says, prepare=lambda here: write(here / name), options=("--weights", name)
    )


def state(**changes: torch.Tensor | None) -> Callable[[Path], object]:
    """Return what writes the parent's weights with these changes; None leaves a tensor out."""
    changed = {name.replace("__", "."): tensor for name, tensor in changes.items()}
    found = {name: tensor for name, tensor in {**STATE, **changed}.items() if tensor is not None}
    return lambda path: save_file(found, path)


def option(setting: str, *says: str) -> BadInput:
    """Return the case of an option of the space."""
    return shrunk("small_parents:make_digits", *says, options=("--set", setting))


BAD_INPUTS = {
    "a parent in no module": shrunk(
        "make_model", "a parent is a function that returns a torch module, named my_module:make_model"
    ),
    "a parent in a missing module": shrunk(
        "nowhere:make", "names the module 'nowhere', which is neither installed nor in"
    ),
    "a misspelt parent": shrunk("small_parents:make_digit", "Did you mean 'make_digits'?"),
    "a parent with a path": shrunk("models/net.py:make", "without .py and with dots: models.net:make"),
    "an empty parent": shrunk("", "but got ''"),
    "a parent that is a text": shrunk(
        "small_parents:make_nothing", "must be a torch module, but small_parents:make_nothing returned a str"
    ),
    "a parent that is None": own("def make():\n    return None\n", "returned a NoneType"),
    "a parent that is a state_dict": own(
        "def make():\n    return make_digits().state_dict()\n", "returned a OrderedDict"
    ),
    "a parent that raises": own(
        "def make():\n    raise OSError('no such disk')\n", "cannot be made: OSError: no such disk"
    ),
    "a parent that exits": own("def make():\n    raise SystemExit(0)\n", "cannot be made: SystemExit: 0"),
    "a parent that ends the process": own(
        "import os\ndef make():\n    os._exit(0)\n", "os._exit(0) would end the search"
    ),
    "a parent that needs arguments": own(
        "def make(path, depth):\n    return make_digits()\n",
        "missing 2 required positional arguments: 'path' and 'depth'",
    ),
    "a parent of two outputs": own(
        "class Two(ThreeStages):\n    def forward(self, x):\n        y = super().forward(x)\n        return y, y\n"
        "def make():\n    return Two(1, 10)\n",
        "must map (1, 1, 8, 8) to (1, 10), but own:make gave a tuple",
    ),
    "a parent that answers with a dict": own(
        "class Dict(ThreeStages):\n    def forward(self, x):\n        return {'logits': super().forward(x)}\n"
        "def make():\n    return Dict(1, 10)\n",
        "but own:make gave a dict",
    ),
    "a parent without weights": own(
        "def make():\n    return nn.Flatten()\n", "own:make has 64, and no last layer that could be replaced"
    ),
    "a parent of which nothing can be removed": shrunk(
        "small_parents:make_linear", "must have channels or blocks that can be removed"
    ),
    "a parent on another device": own(
        "def make():\n    return make_digits().to('meta')\n", "must run on the CPU, but own:make cannot move there"
    ),
    "a parent in half precision": own(
        "def make():\n    return make_digits().half()\n",
        "must take images (float32, 1×8×8), as the data have, but own:make raised",
    ),
    "a parent with weights of NaN": own(
        "def make():\n    model = make_digits()\n    nn.init.constant_(model.head.weight, float('nan'))\n"
        "    return model\n",
        "head.weight must be finite, but has NaN",
    ),
    "a parent of timm that is none": shrunk("timm:mobilenetv9", "Did you mean 'mobilenetv3_rw'?"),
    "a parent of torchvision that is none": shrunk("torchvision.models:resnet19", "Did you mean 'resnet18'?"),
    "weights that are nowhere": shrunk(
        "small_parents:make_digits",
        "weights must be a file of tensors, such as weights.safetensors",
        options=("--weights", "none.safetensors"),
    ),
    "weights in the home of nobody": shrunk(
        "small_parents:make_digits",
        "weights must be a file of tensors",
        "~nosuchuser/w.pt' is none",
        options=("--weights", "~nosuchuser/w.pt"),
    ),
    "weights that are a folder": weights(Path.mkdir, "weights must be a file of tensors"),
    "weights that are empty": weights(lambda path: path.write_bytes(b""), "must be safetensors, but cannot be read"),
    "weights that are a text": weights(lambda path: path.write_text("none"), "must be safetensors, but cannot be read"),
    "a pickle that is a text": weights(
        lambda path: path.write_text("none"),
        "w.pt cannot be read: it is damaged, or no file of weights",
        name="w.pt",
    ),
    "a pickle that is empty": weights(
        lambda path: path.write_bytes(b""), "w.pt cannot be read: it is empty", name="w.pt"
    ),
    "a pickle of a whole model": weights(
        lambda path: torch.save(make_digits(), path), "needs to run code, which is refused", name="w.pt"
    ),
    "a pickle of a number": weights(lambda path: torch.save(3, path), "weights must be tensors by name", name="w.pt"),
    "a pickle of a list": weights(
        lambda path: torch.save([torch.ones(3)], path), "weights must be tensors by name", name="w.pt"
    ),
    "a pickle without tensors": weights(
        lambda path: torch.save({"epoch": 3}, path), "weights must be tensors by name", name="w.pt"
    ),
    "weights of numpy": weights(lambda path: np.savez(path, a=np.ones(3)), "w.npz cannot be read", name="w.npz"),
    "weights without a tensor": weights(lambda path: save_file({}, path), "w.safetensors holds none"),
    "weights that lack one": weights(state(stem__0__weight=None), "stem.0.weight of 16×1×3×3 is missing in the file"),
    "weights of other classes": weights(
        state(head__weight=torch.ones(7, 32), head__bias=torch.ones(7)),
        "head.weight is 7×32 in the file and 10×32 in the model",
    ),
    "weights of another shape": weights(
        state(stem__0__weight=torch.ones(16, 1, 5, 5)), "stem.0.weight is 16×1×5×5 in the file"
    ),
    "weights with more": weights(state(more=torch.ones(3)), "more of the file is not in the model"),
    "weights of NaN": weights(
        state(head__weight=torch.full((10, 32), float("nan"))), "head.weight must be finite, but has NaN"
    ),
    "weights of infinity": weights(state(head__bias=torch.full((10,), float("inf"))), "head.bias must be finite"),
    "weights that are complex": weights(
        state(head__bias=torch.ones(10, dtype=torch.complex64)), "head.bias is of complex64 in the file"
    ),
    "weights that are cut off": weights(
        lambda path: (state()(path), path.write_bytes(path.read_bytes()[:-400])), "file not fully covered"
    ),
    "weights of another package": weights(
        lambda path: save_file({"layer.0.kernel": torch.ones(4, 4)}, path), "fits neither by names nor by order"
    ),
    "a width of nothing": option(
        "space.widths=[0]", "widths must be shares of channels, above 0 and at most 1, but got [0]"
    ),
    "a width above one": option("space.widths=[1.5]", "but got [1.5]"),
    "widths in words": option('space.widths=["half"]', "but got ['half']"),
    "a width that is a number": option(
        "space.widths=0.5", "widths must be shares of channels, above 0 and at most 1, but got 0.5"
    ),
    "a trunk that is negative": option("space.trunks=[-0.5]", "trunks must be shares of channels"),
    "a size of nothing": option("space.sizes=[0]", "sizes must be smaller than that of the pictures, 8, but got 0"),
    "a size in words": option('space.sizes=["small"]', "but got 'small'"),
    "a size that is a number": option("space.sizes=4", "sizes must be a list, such as [64, 80], but got 4"),
    "sizes of two kinds": option('space.sizes=[4, "small"]', "but got 'small'"),
    "a preparation of nothing known": option(
        "space.preparation={colours = 3}", "with keys among mean, std, crop, interpolation, but got {'colours': 3}"
    ),
    "an option that is none": option("space.depth=3", "Did you mean 'widths'?"),
    "a parent for text": BadInput(
        ("shrink", "small_parents:make_digits", "--task", "text", "--data", "a.txt", "--dry-run"),
        ("a parent must take tokens",),
        lambda here: (here / "a.txt").write_text("the cat sat on the mat. " * 500),
    ),
    "a space beside a parent": shrunk(
        "small_parents:make_digits",
        "shrink searches the space 'shrunk', but the recipe names 'mobilenet'",
        options=("--set", "space=mobilenet"),
    ),
    "scores of an untrained parent": shrunk(
        "small_parents:make_digits", "parts of a parent are tuned", options=("--evaluate", "zero-cost")
    ),
}
