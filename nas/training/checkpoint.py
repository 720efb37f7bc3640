"""The checkpoint of one training: where it lies, which training it belongs to, and the state that it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from nas.errors import JournalError
from nas.storage.journal import write_aside
from nas.training.state_packing import packed, unpacked

CHECKPOINT = "checkpoint"
"""The key of a job's place, and of a report's content."""
PATH, TOKEN, CONTENT = "path", "token", "content"
"""The keys of a place: the file, the name of an empty file beside it, and the file's content if the job carries it."""
FORMAT = 1


@final
class Checkpoint:
    """Keeps the state of a training after each epoch in one file, which is replaced whole or not at all.

    A ``place`` comes with the job. A process that sees the place's token writes the file itself. On another machine of
    a cluster nothing lies there, so ``to_send`` holds the content for the driver. ``training`` is plain data that tells
    one training from another: a file of another one is not used, and ``note`` says so.

    Attributes:
        state: the state from which the training goes on; None if it begins.
        note: a sentence for the user, such as why nothing can be kept; empty most of the time.
    """

    def __init__(self, place: Mapping[str, Any], training: Mapping[str, Any]) -> None:
        self._path = Path(place[PATH])
        self._is_here = (self._path.parent / place[TOKEN]).is_file()
        self._training = json.loads(json.dumps({**training, "format": FORMAT}))
        self._to_send: bytes | None = None
        self._cannot = False
        self.note = ""
        self.state = self._read(place)

    @property
    def spent_s(self) -> float:
        """Seconds that the training had taken when the state was kept; 0 if it begins."""
        return 0.0 if self.state is None else float(self.state["spent_s"])

    def keep(self, state: Mapping[str, Any]) -> None:
        """Replace the file by one with this state. What cannot be kept is told once by ``note``.

        Raises:
            JournalError: the disk refuses.
        """
        if self._cannot:
            return
        try:
            content = packed({"training": json.dumps(self._training), "state": state})
        except TypeError as error:
            self._cannot = True
            self.note = (
                f"this training cannot be kept between epochs, because {error}: if it is killed, it begins again"
            )
            return
        if not self._is_here:
            self._to_send = content
            return
        try:
            write_aside(self._path, content)
        except OSError as error:
            raise JournalError(
                f"a checkpoint must reach the disk after each epoch, but the system says: {error}. "
                "Free some space or mend the folder, then go on."
            ) from error

    def to_send(self) -> dict[str, bytes]:
        """Return what the driver has to write, once, as a part of a report."""
        content, self._to_send = self._to_send, None
        return {} if content is None else {CHECKPOINT: content}

    def damaged(self, error: Exception) -> JournalError:
        """Return the error for a state that does not fit its training, though it says that it does."""
        why = " ".join(str(error).split()).rstrip(". ")
        return JournalError(
            f"a training goes on from its checkpoint, but {self._path} is damaged: {why}. Remove that file, and the "
            "training begins again."
        )

    def _read(self, place: Mapping[str, Any]) -> dict[str, Any] | None:
        content = place.get(CONTENT)
        if self._is_here:
            content = self._path.read_bytes() if self._path.is_file() else None
        if content is None:
            return None
        try:
            found = unpacked(content)
            training, state = json.loads(found["training"]), found["state"]
        except (ValueError, KeyError, TypeError) as error:
            raise self.damaged(error) from error
        if training != self._training:
            changed = sorted(
                key for key in {**training, **self._training} if training.get(key) != self._training.get(key)
            )
            self.note = f"an earlier checkpoint is not used, because its training had another {', '.join(changed)}"
            return None
        return dict(state)


def kept_folder(job: Mapping[str, Any]) -> Path | None:
    """Return the folder for what a user's own function keeps, beside the checkpoint's file; None where none is kept."""
    if CHECKPOINT not in job:
        return None
    path = Path(job[CHECKPOINT][PATH])
    if not (path.parent / job[CHECKPOINT][TOKEN]).is_file():
        return None
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    return folder
