"""What a training does while the hub with pretrained weights cannot be reached."""

from __future__ import annotations

from email.message import Message
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError

import pytest
import timm
import torch
from tiny_zoo import SMALL
from torch import nn

from nas.errors import CandidateError, TargetError
from search_spaces import timm_weights


class Hub:
    """In the place of timm: it fails so many times with an error, and then gives a model with ones in its weights."""

    def __init__(self, error: Exception, times: int) -> None:
        self.tried = 0
        self._error, self._times = error, times
        self._create: Any = timm.create_model

    def create_model(self, model: str, pretrained: bool = False, **options: Any) -> nn.Module:
        self.tried += 1
        if self.tried <= self._times:
            raise RuntimeError("the model cannot be made") from self._error
        options.pop("pretrained_cfg_overlay")
        made: nn.Module = self._create(model, **options)
        for tensor in made.parameters():
            nn.init.ones_(tensor)
        return made


def answered(status: int) -> Exception:
    """Return the error of an answer with a status of HTTP."""
    error = OSError(f"{status} for the file")
    error.response = SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
    return error


def load_small(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    module: nn.Module = timm.create_model(SMALL, num_classes=3)
    monkeypatch.setattr(timm, "create_model", hub.create_model)
    monkeypatch.setattr(timm_weights, "_PAUSES_S", (0.0, 0.0))
    timm_weights.load_into(module, SMALL, timm_weights.HUB, 3, {})
    return module


XET = RuntimeError("Task error: File reconstruction error: CAS Client Error: Request error: error sending request")


@pytest.mark.parametrize("error", [ConnectionError("no route"), answered(503), answered(429), XET])
def test_a_short_outage_costs_nothing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights are asked for again, and come."""
    hub = Hub(error, times=2)
    module = load_small(hub, monkeypatch)
    assert hub.tried == 3
    assert all(bool(torch.all(tensor == 1)) for tensor in module.parameters())


def test_a_long_outage_is_no_fault_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends with an error after which it can be resumed, and no candidate is left out for good."""
    with pytest.raises(TargetError, match=r"the weights of lcnet_050\S* must come from huggingface.co, but it cannot"):
        load_small(Hub(ConnectionError("no route"), times=9), monkeypatch)


GONE = HTTPError("https://models.example/a.pth", 404, "Not Found", Message(), None)


@pytest.mark.parametrize("error", [answered(404), GONE, ValueError("other shapes")])
def test_what_the_hub_does_not_have_is_a_failure_of_the_model(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for once."""
    hub = Hub(error, times=9)
    with pytest.raises(CandidateError, match="the weights of lcnet_050"):
        load_small(hub, monkeypatch)
    assert hub.tried == 1
