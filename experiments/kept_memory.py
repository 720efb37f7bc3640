"""``python -m experiments.kept_memory`` shows what a training gains when its process keeps the memory that it frees.

    python -m experiments.kept_memory --repeats 5

Each model of timm is trained for a few steps with one thread, in a new process, as candidates are. Processes that keep
freed memory and those that leave it to glibc take turns. Both compute the same losses, which is checked.
The script needs Linux with glibc, as what it measures does.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import timm
import torch

from experiments.command_line import heading, line, parser_of, positive
from nas.space import torch_settings

MODELS = ("tf_efficientnet_lite0", "mobilenetv3_small_100", "resnet18")
SIDES = (32, 96)
CLASSES, BATCH, STEPS = 10, 64, 20
KEPT, LEFT = "kept", "left"


@dataclass(frozen=True)
class Trained:
    """What the steps of one process took, its largest memory, its page faults, and its last loss."""

    seconds: float
    mib: float
    faults: int
    loss: float


def train(model: str, side: int) -> Trained:
    """Train a model from random weights on random pictures of ``side`` pixels."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    with torch_settings.torch_with(threads=1, seed=0):
        module = timm.create_model(model, num_classes=CLASSES).train()
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        pictures = torch.randn(BATCH, 3, side, side).contiguous(memory_format=torch.channels_last)
        labels = torch.randint(CLASSES, (BATCH,))
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
        began_s = time.perf_counter()
        for _ in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(module(pictures), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        seconds = time.perf_counter() - began_s
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Trained(seconds, used.ru_maxrss / 1024, used.ru_minflt - before, loss.item())


def in_new_process(model: str, side: int, way: str) -> Trained:
    """Train in a process of its own."""
    command = [sys.executable, "-m", "experiments.kept_memory", "--only", way, "--models", model, "--sides", str(side)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 it starts this script
    return Trained(**json.loads(done.stdout))


def of_pair(model: str, side: int, repeats: int) -> str:
    """Return a row of the table: medians of both ways, which take turns."""
    found: dict[str, list[Trained]] = {LEFT: [], KEPT: []}
    for _ in range(repeats):
        for way, trained in found.items():
            trained.append(in_new_process(model, side, way))
    losses = {each.loss for trained in found.values() for each in trained}
    assert len(losses) == 1, f"both ways must compute the same losses, but {model} has {sorted(losses)}"
    ratios = sorted(left.seconds / kept.seconds for left, kept in zip(found[LEFT], found[KEPT], strict=True))
    faults = [statistics.median(each.faults for each in trained) for trained in found.values()]
    mib = [statistics.median(each.mib for each in trained) for trained in found.values()]
    return line(
        [
            model,
            str(side),
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            f"{faults[0] / 1e3:.0f} → {faults[1] / 1e3:.0f}",
            f"{mib[0]:.0f} → {mib[1]:.0f}",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train all models in both ways, and print the table."""
    parser = parser_of("kept_memory", __doc__)
    parser.add_argument("--models", nargs="+", default=MODELS, help=f"models of timm (default: {', '.join(MODELS)})")
    parser.add_argument("--sides", nargs="+", type=positive, default=SIDES, help="sides of pictures in pixels")
    parser.add_argument("--repeats", type=positive, default=5, help="processes of each way (default: 5)")
    parser.add_argument("--only", choices=(KEPT, LEFT), help="train the first model here, in this way, and print JSON")
    given = parser.parse_args(arguments)
    if given.only:
        if given.only == LEFT:
            torch_settings.keep_freed_memory = lambda: None  # type: ignore[assignment]
        print(json.dumps(asdict(train(given.models[0], given.sides[0]))))
        return 0
    columns = ["model", "pixels", "times as fast", "thousand page faults", "MiB at most"]
    print("\n".join(heading(columns)))
    for model in given.models:
        for side in given.sides:
            print(of_pair(model, side, given.repeats), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
