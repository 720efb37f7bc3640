"""Ways to start Python on a device with its input and output here. Each is found by the scheme of a device's address.

A further way is a class with the methods of ``Transport``, or of ``program_device.Runner`` where there is no Python, in
a package's entry points ``nas.transports``.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import PurePosixPath
from typing import Any, Protocol, final

from nas.errors import RecipeError, TargetError
from nas.hardware.devices.program_device import Runner
from nas.hardware.devices.registry import POOL, DeviceRecord, ssh_parts
from nas.space.plug_ins import load_plug_in, plug_in_names

QUIET_S, MOST_QUIET = 4, 2
"""ssh asks so often whether the other side is there, and gives up after so many times without an answer."""


class Transport(Protocol):
    """A way to a device. Its class is called with the record of the device."""

    def command(self, program: str) -> list[str]:
        """Return the command that runs a Python program there, with its input and output here.

        Raises:
            TargetError: what the way needs is not installed here.
        """

    @property
    def introduction(self) -> list[str] | None:
        """The command that lets the user meet the device for the first time, or None if there is nothing to ask."""

    def advice(self, said: str) -> str:
        """Return what to do about a failure of which the system ``said`` something; empty if nothing is known."""


def way_of(record: DeviceRecord) -> Transport | Runner:
    """Return the way to a device: to Python there, or something that runs models there by itself.

    Raises:
        RecipeError: an unknown scheme, or an address that it cannot have.
    """
    names = plug_in_names("nas.transports")
    if record.scheme not in names:
        known = ", ".join(f"{name}:" for name in (*names, POOL))
        raise RecipeError(
            f"the address of a device begins with one of {known}, such as ssh://pi@192.0.2.7, but got {record.url!r}."
        )
    maker: Any = load_plug_in("nas.transports", record.scheme, "transport")
    made: Transport | Runner = maker(record)
    return made


@final
class Local:
    """Another Python of this machine: ``local:``, for a trial, and for measuring within a container."""

    introduction: list[str] | None = None

    def __init__(self, record: DeviceRecord) -> None:
        self._python = record.python

    def command(self, program: str) -> list[str]:
        """Return the command."""
        found = shutil.which(self._python)
        if found is None:
            raise TargetError(f"the Python of a device must be a program, but there is no {self._python!r}.")
        return [found, "-u", "-c", program]

    def advice(self, said: str) -> str:
        """Return nothing: its messages suffice."""
        return ""


@final
class Ssh:
    """The system's own ssh, so that known hosts, jump hosts, agents and hardware keys work as the user has them.

    Nobody is asked anything: a password or an unknown host is a failure with advice.
    """

    def __init__(self, record: DeviceRecord) -> None:
        self._destination, self._port = ssh_parts(record.url)
        self._python = record.python

    def command(self, program: str) -> list[str]:
        """Return the command. What runs there is quoted for the shell of the device, which ssh passes it to."""
        ssh = shutil.which("ssh")
        if ssh is None:
            raise TargetError("a device with an address of ssh:// needs the program ssh, but this machine has none.")
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "15",
            "ServerAliveInterval": str(QUIET_S),
            "ServerAliveCountMax": str(MOST_QUIET),
            "StrictHostKeyChecking": "yes",
        }
        given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        port = ["-p", self._port] if self._port else []
        home, python = ("~/", self._python[2:]) if self._python.startswith("~/") else ("", self._python)
        there = f"exec {home}{shlex.quote(python)} {shlex.join(['-u', '-c', program])}"  # the shell there knows ~
        return [ssh, "-T", *given, *port, "--", self._destination, there]

    @property
    def introduction(self) -> list[str] | None:
        """ssh, which shows the key of an unknown host and asks."""
        ssh = shutil.which("ssh")
        port = ["-p", self._port] if self._port else []
        return None if ssh is None else [ssh, "-o", "StrictHostKeyChecking=ask", *port, "--", self._destination, "true"]

    def advice(self, said: str) -> str:
        """Return what to do about a failure of ssh."""
        place = " ".join([*(["-p", self._port] if self._port else []), self._destination])
        login, copy = f"ssh {place}", f"ssh-copy-id {place}"
        host = self._destination.rpartition("@")[2]
        # As it stands among the known hosts. ssh tells it, also where the destination is an alias of its settings.
        told = re.search(r"host key for (\S+) has changed", said, re.IGNORECASE)
        key = told[1] if told else host if self._port in (None, "", "22") else f"[{host}]:{self._port}"
        python = re.escape(PurePosixPath(self._python).name)
        missing = f"{python}: not found|{python}: command not found|not found: {python}|exit code 127"
        known = (
            (
                "IDENTIFICATION HAS CHANGED",
                "its host key is not the one of before: another machine may answer in its place. If the device was "
                f"set up anew, remove the old key with ssh-keygen -R {shlex.quote(key)}, and then "
                f"log in once with {login}",
            ),
            (
                "Host key verification failed",
                f"its host key is not known yet: log in once with {login}, and compare it",
            ),
            ("Permission denied", f"it must let you in without a password: {copy}, and try {login}"),
            ("Could not resolve", "no device of this name is known: check its name, or take its address in numbers"),
            ("Connection refused", "nothing listens for ssh there: switch its ssh server on, and check the port"),
            ("timed out", "it does not answer: check that it is on, and in the same network"),
            ("No route to host", "it does not answer: check that it is on, and in the same network"),
            (missing, f"it must have Python: install python3 there, or name it with --python, not {self._python}"),
        )
        return next((advice for sign, advice in known if re.search(sign, said, re.IGNORECASE)), "")
