"""A search on two nodes of a Ray cluster, in network namespaces of their own, of which one does not see the data."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from commands import environment, path_with_the_tests
from marking_training import MEETING
from PIL import Image

HEAD, OTHER, PORT = "10.213.77.1", "10.213.77.2", 6397
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


def write_photos(folder: Path) -> None:
    """Write 60 noisy photos of two classes."""
    rng = np.random.default_rng(0)
    for number, title in enumerate(("dark", "light")):
        (folder / title).mkdir(parents=True)
        for index in range(30):
            pixels = rng.integers(100 * number, 100 * number + 120, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / title / f"{index}.png")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not has_namespaces(), reason="needs root on Linux, ip and unshare")
def test_a_node_that_does_not_see_the_data_trains_on_them_too() -> None:
    """They arrive there once, for two processes that train, and candidates learn from the same items as elsewhere."""
    with tempfile.TemporaryDirectory(prefix="nas-") as base_name:  # short, for the sockets of Ray
        base = Path(base_name)
        driver, homes = base / "driver", [base / "driver" / "home", base / "other"]
        write_photos(driver / "photos")
        for folder in (*homes, base / "empty", base / "meeting"):
            folder.mkdir(parents=True)
        ray = str(Path(sys.executable).parent / "ray")
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
        shared = environment(**token, PYTHONPATH=path_with_the_tests(), **{MEETING: str(base / "meeting")})
        options = ("--block", "--object-store-memory=100000000", "--num-cpus")
        with two_namespaces() as (first, second), contextlib.ExitStack() as nodes:
            head = (ray, "start", "--head", f"--node-ip-address={HEAD}", f"--port={PORT}", f"--temp-dir={base / 'ray'}")
            command = ("ip", "netns", "exec", first, *head, "--include-dashboard=false", *options, "1")
            nodes.enter_context(ray_node(command, {**shared, "NAS_HOME": str(homes[0])}, base / "head.log"))
            start = f"{ray} start --address={HEAD}:{PORT} --node-ip-address={OTHER} {' '.join(options)} 2"
            masked = MASKED.format(empty=base / "empty", hidden=driver, ray=start)
            command = ("ip", "netns", "exec", second, "unshare", "-m", "sh", "-c", masked)
            nodes.enter_context(ray_node(command, {**shared, "NAS_HOME": str(homes[1])}, base / "other.log"))
            search = (
                *(sys.executable, "-m", "nas", "search", "--data", f"folder:{driver / 'photos'}"),
                *("--space", "mobilenet", "--train", "marking_training:train", "--ray-address", f"{HEAD}:{PORT}"),
                *("--objective", "error", "--objective", "macs", "--trials", "8", "--set", "rounds=1"),
                *("--set", "retraining.winners=1", "--set", "measuring.initial=5", "--set", "measuring.rounds=2"),
                *("--set", "measuring.max_rounds=2", "--set", "measuring.seconds_per_round=0.02"),
            )
            done = subprocess.run(
                ("ip", "netns", "exec", first, *search),
                cwd=driver,
                env={**shared, "NAS_HOME": str(homes[0])},
                capture_output=True,
                text=True,
                timeout=400,
                check=False,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        here, there = ([json.loads(path.read_text()) for path in home.glob("trained-*.json")] for home in homes)
        assert here
        assert len({each["process"] for each in there}) >= 2
        assert not any(each["arrived"] for each in here)
        (arrived,) = {tuple(each["arrived"]) for each in there}  # the file was written once
        assert len(arrived) == 1
        assert {each["items"] for each in here} & {each["items"] for each in there}
