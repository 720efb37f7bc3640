"""This machine as a board of its own: a device ``here``, reached by ssh through a real server on the loopback."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from experiments import real_sshd

NAME = "here"
RUNTIME = "onnxruntime-cpu"


@contextlib.contextmanager
def board_here(python: str = sys.executable, runtime: str = RUNTIME) -> Iterator[Path]:
    """Add the device until the end of the block, in a home of its own, and give an empty folder for what is made.

    ``python`` is that of the device, which gets the ``runtime``. With this one, nothing but the way to it differs.
    Commands that are started within the block know the device, because the environment names that home, and a search
    path with an ssh that logs in.

    Raises:
        OSError: this machine has no sshd.
        subprocess.CalledProcessError: the device cannot be added; ``nas`` has said why.
    """
    if not real_sshd.IS_THERE:
        raise OSError("this machine must have sshd and ssh-keygen, but has not: install openssh-server.")
    with tempfile.TemporaryDirectory(prefix="nas-board-") as text:
        folder = Path(text)
        for name in ("ssh", "board", "made"):
            (folder / name).mkdir()
        with real_sshd.serving(folder / "ssh") as (url, path), _environment(NAS_HOME=text, PATH=path):
            run_nas("device", "add", NAME, url, "--python", python, "--folder", str(folder / "board"))
            run_nas("device", "install", NAME, runtime)
            yield folder / "made"


def run_nas(*arguments: str, folder: Path | None = None) -> None:
    """Run the command ``nas`` in a folder. Raises subprocess.CalledProcessError if it fails."""
    subprocess.run([sys.executable, "-m", "nas", *arguments], cwd=folder, check=True)  # noqa: S603 it starts this program


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
