"""The devices that were added: a name, the way to each, and what was found there, in a file for each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nas.errors import RecipeError, did_you_mean
from nas.storage.home import home
from nas.storage.journal import write_aside
from nas.values.target import check_device_name


@dataclass(frozen=True)
class DeviceRecord:
    """A device as it was added.

    Attributes:
        name: what people call it.
        url: the way to it, such as ``ssh://pi@192.0.2.7``.
        python: the Python there.
        folder: the folder there for the agent, models and packages; empty for the usual one.
        found: what was found when it was last looked at.
        packages: the folders of packages that were put there, separated by spaces, by the runtime that they are for.
    """

    name: str
    url: str
    python: str = "python3"
    folder: str = ""
    found: Mapping[str, Any] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def scheme(self) -> str:
        """The kind of the way."""
        return self.url.partition(":")[0]


def folder() -> Path:
    """Return the folder of the records."""
    return home() / "devices"


def save(record: DeviceRecord) -> None:
    """Keep a device under its name."""
    check_device_name(record.name)
    path = folder() / f"{record.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, (json.dumps(asdict(record), indent=2) + "\n").encode())


def forget(name: str) -> None:
    """Remove a device. Raises RecipeError if there is none of the name."""
    known(name)
    (folder() / f"{name}.json").unlink()


def known(name: str) -> DeviceRecord:
    """Return the device of a name.

    Raises:
        RecipeError: there is none, or its file is damaged.
    """
    check_device_name(name)
    path = folder() / f"{name}.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        record = DeviceRecord(**values)
    except FileNotFoundError:
        names = [each.name for each in devices()]
        raise RecipeError(
            f"a target names a device that was added, but got {name!r}. {did_you_mean(name, names)} "
            f"Add it: nas device add {name} ssh://USER@HOST."
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise RecipeError(
            f"{path} must describe a device, but: {error}. Remove it, and add the device again."
        ) from None
    return record


def devices() -> list[DeviceRecord]:
    """Return all devices by name. Files that are damaged are left out."""
    found = []
    for path in sorted(folder().glob("*.json")):
        try:
            found.append(DeviceRecord(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue
    return found


POOL = "pool"
"""The scheme of a pool: its address names devices that were added, ``pool:pi1,pi2``."""


def pool_members(record: DeviceRecord) -> tuple[str, ...]:
    """Return the names of a pool's devices. Raises RecipeError if they are fewer than two, or one comes twice."""
    names = tuple(part.strip() for part in record.url.partition(":")[2].split(","))
    if len(names) < 2 or len(set(names)) < len(names):
        raise RecipeError(
            f"a pool has at least two devices that were added, such as pool:pi1,pi2, but got {record.url!r}."
        )
    for name in names:
        if known(name).scheme == POOL:
            raise RecipeError(f"a pool has devices and no other pools, but {record.url!r} names {name}.")
    return names


def members_of(name: str) -> tuple[DeviceRecord, ...]:
    """Return the devices of a pool, or the device itself. Raises RecipeError for a name that is not known."""
    record = known(name)
    return tuple(map(known, pool_members(record))) if record.scheme == POOL else (record,)


URL = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_][\w.-]*)@)?(?P<host>[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:]+\])(?::(?P<port>\d{1,5}))?/?"
)


def ssh_parts(url: str) -> tuple[str, str | None]:
    """Return the destination and the port of an address for ssh.

    Raises:
        RecipeError: it is none.
    """
    match = URL.fullmatch(url)
    if match is None or (match["port"] and not 0 < int(match["port"]) < 65536):
        raise RecipeError(
            f"an address for ssh is ssh://[USER@]HOST[:PORT], such as ssh://pi@192.0.2.7, but got {url!r}."
        )
    host = match["host"].strip("[]")
    return (f"{match['user']}@{host}" if match["user"] else host), match["port"]
