"""A network of its own beyond a link that tests can cut: a namespace of Linux, joined by a pair of virtual devices."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

IS_THERE = (
    sys.platform == "linux" and os.geteuid() == 0 and all(map(shutil.which, ("ip", "unshare", "nsenter")))
)  # one needs the rights of an administrator
READY_WITHIN_S = 10.0


@dataclass(frozen=True)
class Link:
    """The way to a namespace. ``inside`` is what a command begins with that runs there, and ``host`` its address."""

    name: str
    host: str
    inside: tuple[str, ...]
    namespace: str

    def cut(self) -> None:
        """Let nothing through any more. Neither side hears of it."""
        _ip("link", "set", self.name, "down")

    def mend(self) -> None:
        """Let everything through again."""
        _ip("link", "set", self.name, "up")

    def processes(self, name: str) -> list[int]:
        """Return the processes in the namespace whose name begins so."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has just ended
                is_inside = os.readlink(folder / "ns" / "net") == self.namespace
                if is_inside and (folder / "comm").read_text().startswith(name):
                    found.append(int(folder.name))
        return found


@contextlib.contextmanager
def separate_network() -> Iterator[Link]:
    """Give a link to a network of its own until the end of the block."""
    number = os.getpid() % 250 + 1
    near, far, net = f"nas{number}a", f"nas{number}b", f"10.213.{number}"
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    try:
        own, there = os.readlink("/proc/self/ns/net"), Path(f"/proc/{holder.pid}/ns/net")
        until_s = time.monotonic() + READY_WITHIN_S
        while os.readlink(there) == own or Path(f"/proc/{holder.pid}/comm").read_text() != "sleep\n":
            assert time.monotonic() < until_s, "a namespace must appear"
            time.sleep(0.02)
        inside = ("nsenter", "--target", str(holder.pid), "--net")
        _ip("link", "add", near, "type", "veth", "peer", "name", far)
        _ip("link", "set", far, "netns", str(holder.pid))
        _ip("address", "add", f"{net}.1/24", "dev", near)
        _ip("link", "set", near, "up")
        for words in (
            ("address", "add", f"{net}.2/24", "dev", far),
            ("link", "set", far, "up"),
            ("link", "set", "lo", "up"),
        ):
            subprocess.run([*inside, "ip", *words], check=True)
        yield Link(near, f"{net}.2", inside, os.readlink(there))
    finally:
        holder.kill()  # and with it the namespace and both ends of the link
        holder.wait()
        subprocess.run(["ip", "link", "delete", near], check=False, stderr=subprocess.DEVNULL)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
