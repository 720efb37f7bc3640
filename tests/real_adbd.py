"""Debian's adbd in a network of its own, and a phone that is reached there: run by ``python real_adbd.py FOLDER``.

It prints JSON: what came of each step. adbd has no authentication, so it runs for a few seconds only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from nas.errors import NasError
from nas.hardware.devices.adb_phone import FOLDER, Phone, adb_client
from nas.hardware.devices.registry import DeviceRecord
from nas.values.target import Target

TOOLS = ("adbd", "unshare", "ip")
WHY_NOT = ", ".join(
    [
        *(tool for tool in TOOLS if shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin") is None),
        *(["adbutils"] if find_spec("adbutils") is None else []),
        *(["root"] if not hasattr(os, "geteuid") or os.geteuid() != 0 else []),
    ]
)
"""What this machine lacks for it; empty if it lacks nothing."""
ADDRESS = "127.0.0.1:5555"


def told(work: Callable[[], object]) -> str:
    try:
        return str(work())
    except NasError as error:
        return str(error)


def main(folder: Path) -> None:
    """Let a program run there, in each way."""
    program, model = folder / "time it", folder / "m.tflite"
    program.write_text('#!/bin/sh\ncase "$2" in hang) sleep 30 ;; esac\ntest -s "$1" && echo 2.5\n')
    model.write_bytes(b"a model")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = subprocess.Popen(["adbd"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = adb_client()
    try:
        deadline_s = time.monotonic() + 20
        while "connected" not in client.connect(ADDRESS, timeout=5) and time.monotonic() < deadline_s:
            time.sleep(0.1)
        while len(client.list()) < 2 and time.monotonic() < deadline_s:
            time.sleep(0.1)
        target = Target("onnxruntime-cpu")
        phone, hanging = (
            Phone(DeviceRecord("phone", f"adb:{ADDRESS} '{program}' {{model}} {word}")) for word in ("", "hang")
        )
        found = {
            "unnamed": told(Phone(DeviceRecord("phone", f"adb: '{program}'")).look),
            "ran": list(phone.run(model, target, 3, 10.0).samples_ms),
            "hung": told(lambda: hanging.run(model, target, 3, 0.5)),
        }
        phone.clear()
        print(json.dumps({**found, "left": Path(FOLDER).exists()}))
    finally:
        client.server_kill()
        server.kill()
        server.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
