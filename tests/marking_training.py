"""A user's own training that leaves a file in the home of the node on which it ran, and the data it found there."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from nas.storage.home import home
from nas.tasks.batches import in_order
from nas.tasks.task import Task
from nas.tasks.transfer.parcels import FOLDER

MEETING = "NAS_TEST_MEETING"
"""The environment variable that names a folder which all processes see."""
PROCESSES = 3


def _meet() -> None:
    """Wait until all processes have come so far, or one alone might train all candidates."""
    folder, until = Path(os.environ[MEETING]), time.monotonic() + 120
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < PROCESSES and time.monotonic() < until:
        time.sleep(0.2)


def train(module: torch.nn.Module, task: Task, settings: Any) -> Iterator[dict[str, float]]:
    """Read all items, and note their digest, and when files that came from another machine were written."""
    digest = hashlib.sha256()
    for examples in (task.train, task.validation):
        for batch in in_order(examples, 16):
            digest.update(batch.raw[0].numpy().tobytes())
    _meet()
    arrived = [path.stat().st_ctime_ns for path in (home() / FOLDER).rglob("*.npy")]
    found = {"process": os.getpid(), "items": digest.hexdigest(), "arrived": arrived}
    (home() / f"trained-{uuid.uuid4().hex}.json").write_text(json.dumps(found), encoding="utf-8")
    yield {"error": 0.5}
