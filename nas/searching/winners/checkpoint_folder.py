"""The folder of a run that holds the checkpoints of its retrainings while they go on."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from pathlib import Path
from typing import Any, final

from nas.errors import JournalError
from nas.storage.journal import write_aside
from nas.training.checkpoint import CONTENT, PATH, TOKEN

CHECKPOINTS = "checkpoints"


@final
class CheckpointFolder:
    """Gives each training a place for its checkpoint, and removes what is not needed any more.

    With ``sends``, trainings may run on machines that do not see the folder: jobs then carry the content.
    """

    def __init__(self, run_folder: Path, number: int, *, sends: bool) -> None:
        self._folder = run_folder.resolve() / CHECKPOINTS / str(number)
        self._sends = sends
        self._token = ""

    def place(self, name: str) -> dict[str, Any]:
        """Return the place of a training's checkpoint, for its job."""
        if not self._token:
            self._open()
        path = self._path(name)
        content = {CONTENT: path.read_bytes()} if self._sends and path.is_file() else {}
        return {PATH: str(path), TOKEN: self._token, **content}

    def write(self, name: str, content: bytes) -> None:
        """Write a checkpoint that came from another machine."""
        write_aside(self._path(name), content)

    def drop(self, name: str) -> None:
        """Remove the checkpoint of a training that has ended."""
        path = self._path(name)
        path.unlink(missing_ok=True)
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)  # what a function of the user's own has kept

    def close(self) -> None:
        """Remove the folder, once all trainings have ended."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # others are going on, or there was none
            self._folder.parent.rmdir()

    def _open(self) -> None:
        self._token = f"here-{uuid.uuid4().hex}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for left in self._folder.glob("here-*"):  # of a process that was killed
                left.unlink()
            (self._folder / self._token).touch()
        except OSError as error:
            raise JournalError(
                f"checkpoints need a folder that can be written, but for {self._folder} the system says: {error}. "
                "Free some space or mend the folder, then resume the run."
            ) from error

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"
