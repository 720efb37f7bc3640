"""Nodes of a Ray cluster on this machine: a head on the loopback address, or two nodes in network namespaces."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
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


def has_namespaces() -> bool:
    """Return True if this user may make network namespaces with a link between them."""
    if sys.platform != "linux" or os.getuid() != 0 or not all(map(shutil.which, ("ip", "unshare", "nsenter"))):
        return False
    probe = "ip link add nas-probe-a type veth peer name nas-probe-b && mount --make-rprivate /"
    apart = ["unshare", "-mnp", "--fork", "--mount-proc", "sh", "-c", probe]
    return subprocess.run(apart, capture_output=True, check=False).returncode == 0


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


def masked(namespace: str, empty: Path, hidden: Path, *command: str) -> tuple[str, ...]:
    """Return a command that runs in a network namespace, and finds an empty folder in the place of a hidden one."""
    mounts = f"mount --make-rprivate / && mount --bind {shlex.quote(str(empty))} {shlex.quote(str(hidden))}"
    return ("ip", "netns", "exec", namespace, "unshare", "-m", "sh", "-c", f"{mounts} && exec {shlex.join(command)}")


@contextlib.contextmanager
def own_processes(namespace: str, folder: Path) -> Iterator[tuple[str, ...]]:
    """Give what commands begin with that run in a network namespace and see each other's processes alone.

    They run in ``folder``. Ray finds the nodes of its machine among all processes.
    """
    apart = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sleep", "infinity")
    holder = subprocess.Popen(("ip", "netns", "exec", namespace, *apart))
    try:
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
        until = time.monotonic() + 20
        while not (first := children.read_text().split()) or Path(f"/proc/{first[0]}/comm").read_text() != "sleep\n":
            assert time.monotonic() < until, "a namespace must appear"
            time.sleep(0.02)
        there = ("sh", "-c", f'cd {shlex.quote(str(folder))} && exec "$@"', "sh")
        yield ("nsenter", "--target", first[0], "--mount", "--pid", "--net", *there)
    finally:
        holder.kill()  # and with it all that run there
        holder.wait()


def cut(namespace: str) -> None:
    """Let nothing through to or from a namespace any more, and tell nobody, as a machine without power does."""
    link = f"v{namespace.removeprefix('nas-').replace('-', '')}"
    ip("-n", namespace, "link", "set", link, "down")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, check=True)


@contextlib.contextmanager
def ray_node(command: Sequence[str], variables: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a node of Ray until the end of the context, in a session of its own, and give its process."""
    with log.open("wb") as stream:
        node = subprocess.Popen(command, env=variables, stdout=stream, stderr=stream, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while b"will now block forever" not in log.read_bytes():
            assert node.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.5)
        yield node
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
