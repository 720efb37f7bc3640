"""A user's own training that leaves a file in the home of the node on which it ran, and the data it found there."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from typing import Any

import torch

from nas.storage.home import home
from nas.tasks.batches import in_order
from nas.tasks.sent.parcels import FOLDER
from nas.tasks.task import Task


def train(module: torch.nn.Module, task: Task, settings: Any) -> Iterator[dict[str, float]]:
    """Read all items, and note their digest and when files were last changed that came from another machine."""
    digest = hashlib.sha256()
    for examples in (task.train, task.validation):
        for batch in in_order(examples, 16):
            digest.update(batch.raw[0].numpy().tobytes())
    arrived = [path.stat().st_ctime_ns for path in (home() / FOLDER).rglob("*.npy")]
    found = {"process": os.getpid(), "items": digest.hexdigest(), "arrived": arrived}
    (home() / f"trained-{uuid.uuid4().hex}.json").write_text(json.dumps(found), encoding="utf-8")
    yield {"error": 0.5}
