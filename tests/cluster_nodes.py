"""Nodes of a Ray cluster on this machine: a head on the loopback address, or two nodes in network namespaces."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

HEAD, OTHER, PORT = "10.213.77.1", "10.213.77.2", 6397
RAY = str(Path(sys.executable).parent / "ray")
BLOCKING = ("--block", "--object-store-memory=100000000", "--num-cpus")
MASKED = "mount --make-rprivate / && mount --bind {empty} {hidden} && exec {ray}"


def has_namespaces() -> bool:
    """Return True if this user may make network namespaces with a link between them."""
    if sys.platform != "linux" or os.getuid() != 0 or not all(map(shutil.which, ("ip", "unshare"))):
        return False
    probe = "ip link add nas-probe-a type veth peer name nas-probe-b && mount --make-rprivate /"
    return subprocess.run(["unshare", "-mn", "sh", "-c", probe], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def two_namespaces() -> Iterator[tuple[str, str]]:
    """Give the names of two network namespaces whose addresses are HEAD and OTHER."""
    mark = secrets.token_hex(3)
    names, links = (f"nas-{mark}-a", f"nas-{mark}-b"), (f"v{mark}a", f"v{mark}b")
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", links[0], "netns", names[0], "type", "veth", "peer", "name", links[1], "netns", names[1])
        for name, link, own, other in zip(names, links, (HEAD, OTHER), (OTHER, HEAD), strict=True):
            ip("-n", name, "addr", "add", f"{own}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "route", "add", "default", "via", other)  # Ray finds its own address by its way out
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, check=True)


@contextlib.contextmanager
def ray_node(command: Sequence[str], variables: dict[str, str], log: Path) -> Iterator[None]:
    """Run a node of Ray until the end of the context, in a session of its own."""
    with log.open("wb") as stream:
        node = subprocess.Popen(command, env=variables, stdout=stream, stderr=stream, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while b"will now block forever" not in log.read_bytes():
            assert node.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.5)
        yield
    finally:
        node.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            node.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait()


def new_token() -> dict[str, str]:
    """Return the variables of a cluster with a token of its own."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
