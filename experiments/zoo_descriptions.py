"""The time to describe all models of the zoo: the first time, and again in a new process.

    python -m experiments.zoo_descriptions [--models PATTERN]

The first time builds and traces each model on tensors without data. Later processes read what was kept. A home that is
empty at first is used, so nothing that is kept on this machine counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

_DESCRIBE = """
import json, sys, time
began = time.perf_counter()
import nas
space = nas.load_space("timm", {"models": json.loads(sys.argv[1])}, input_shape=(3, 64, 64), classes=10)
models = [choice for choice in space.choices if choice.name == "model"][0].options
layers, refused = 0, []
for model in models:
    try:
        layers += len(space.layers(nas.Architecture({"model": model})))
    except ValueError as error:
        refused.append(f"{model}: {error}")
seconds = time.perf_counter() - began
found = {"models": len(models), "layers": layers, "refused": refused, "seconds": seconds}
print(json.dumps({**found, "processor_s": time.process_time()}))
"""


def described(models: str, home: str) -> dict[str, Any]:
    """Return the number of models, their layers, those that were refused, and the times of a new process."""
    done = subprocess.run(  # noqa: S603 of this project
        [sys.executable, "-c", _DESCRIBE, json.dumps(models)],
        env={**os.environ, "NAS_HOME": home},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print both times."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", default="curated", help="a pattern of names; by default those that ship")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        for title in ("first time", "again"):
            found = described(options.models, home)
            seconds = f"{found['seconds']:.1f} s, of which {found['processor_s']:.1f} s on a processor"
            print(f"{title}: {found['models']} models, {found['layers']} layers, {seconds}")
            for line in found["refused"] if title == "again" else ():
                print(f"  refused: {line}")


if __name__ == "__main__":
    main()
