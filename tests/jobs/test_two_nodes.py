"""A search on two nodes of a Ray cluster, in network namespaces of their own, of which one does not see the data."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from cluster_nodes import BLOCKING, HEAD, OTHER, PORT, RAY, has_namespaces, masked, new_token, ray_node, two_namespaces
from commands import environment, path_with_the_tests
from marking_training import MEETING
from PIL import Image

from nas.storage.home import home


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
        shutil.copytree(home(), homes[0], symlinks=True)  # which knows this machine
        for folder in (homes[1], base / "empty", base / "meeting"):
            folder.mkdir(parents=True)
        shared = environment(**new_token(), PYTHONPATH=path_with_the_tests(), **{MEETING: str(base / "meeting")})
        with two_namespaces() as (first, second), contextlib.ExitStack() as nodes:
            head = (RAY, "start", "--head", f"--node-ip-address={HEAD}", f"--port={PORT}", f"--temp-dir={base / 'ray'}")
            command = ("ip", "netns", "exec", first, *head, "--include-dashboard=false", *BLOCKING, "1")
            nodes.enter_context(ray_node(command, {**shared, "NAS_HOME": str(homes[0])}, base / "head.log"))
            start = (RAY, "start", f"--address={HEAD}:{PORT}", f"--node-ip-address={OTHER}", *BLOCKING, "2")
            command = masked(second, base / "empty", driver, *start)
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
        here, there = ([json.loads(path.read_text()) for path in each.glob("trained-*.json")] for each in homes)
        assert here
        assert len({each["process"] for each in there}) >= 2
        assert not any(each["arrived"] for each in here)
        (arrived,) = {tuple(each["arrived"]) for each in there}  # the file was written once
        assert len(arrived) == 1
        assert {each["items"] for each in here} & {each["items"] for each in there}
