"""What a node of a cluster must have before it is given trainings, and why one cannot have them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, final

import cloudpickle

from nas.errors import RecipeError, raised_text
from nas.hardware.machine import WORKER_BYTES
from nas.tasks.transfer.parcels import Parcel

LIBRARIES = ("nas", "torch", "numpy", "ray")
"""The packages that a training needs. Others are missed when the code that imports them is loaded."""


@final
@dataclass(frozen=True)
class NodeNeeds:
    """What each node must be able to load, and the files for which it needs room where it lacks them.

    ``code`` is the pickle of what trainings are made of, such as a space and a training function of the user's own.
    """

    code: bytes
    parcel: Parcel | None = None

    @staticmethod
    def of(objects: object, parcel: Parcel | None = None) -> NodeNeeds:
        """Return the needs of trainings that are made of these objects.

        Raises:
            RecipeError: they cannot be sent to another process.
        """
        try:
            return NodeNeeds(cloudpickle.dumps(objects), parcel)
        except Exception as error:
            raise RecipeError(
                f"what trainings on a cluster are made of must be sent to its nodes, but {raised_text(error)}"
            ) from error

    @property
    def files(self) -> list[tuple[str, int, int]]:
        """The paths, sizes in bytes, and times of change in ns, of the files."""
        return (
            [] if self.parcel is None else [(str(file.path), file.size, file.changed_ns) for file in self.parcel.files]
        )

    def lacking(self, told: Mapping[str, Any]) -> str | None:
        """Return what a node lacks that has ``told`` of itself, and what to do about it; None for nothing."""
        here, there = platform.python_version(), str(told["python"])
        if here.split(".")[:2] != there.split(".")[:2]:
            return f"it has Python {there}, but this machine {here}; start its Ray with the same"
        for name, found in told["versions"].items():
            if found is None and _version(name) is not None:
                return f"it lacks the package {name}; install {name}=={_version(name)} there"
        if told["versions"].get("nas") not in (None, _version("nas")):
            return f"it has nas {told['versions']['nas']}, but this machine {_version('nas')}; install the same there"
        if told["error"] is not None:
            return (
                f"it cannot load what trainings are made of ({' '.join(told['error'].split())}); install that there, "
                "or name its folder in the node's PYTHONPATH"
            )
        size = 0 if self.parcel is None or told["here"] else self.parcel.size
        if told["free"] is not None and told["free"] < size:
            return (
                f"the data need {_mib(size)} there, but {told['place']} has {_mib(told['free'])} free; make room, or "
                "start its Ray with another NAS_HOME"
            )
        if told["memory"] is not None and told["memory"] < WORKER_BYTES:
            return f"a training needs {_mib(WORKER_BYTES)} of memory, but it has {_mib(told['memory'])} left"
        return None

    def differing(self, told: Mapping[str, Any]) -> str | None:
        """Return how a node's packages differ from those here; None if they do not."""
        others = [
            f"{name} {found} instead of {_version(name)}"
            for name, found in told["versions"].items()
            if found not in (None, _version(name))
        ]
        return ", ".join(others) or None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
