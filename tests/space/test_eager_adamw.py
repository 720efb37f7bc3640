"""AdamW without torch's compiler."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from nas.space.eager_adamw import EagerAdamW

STEPS = """
import sys, torch
from nas.space.eager_adamw import EagerAdamW
layer = torch.nn.Linear(2, 1)
optimizer = EagerAdamW(layer.parameters())
layer(torch.ones(1, 2)).sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"foreach": True}, {"weight_decay": 0.0, "amsgrad": True}])
def test_it_steps_as_torch_s_own(options: dict[str, Any]) -> None:
    """Weights, kept states and those that go on from them are the same, bit by bit; steps leave no gradients behind."""
    weights = []
    for kind in (torch.optim.AdamW, EagerAdamW):
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        optimizer = kind([{"params": [layer.weight]}, {"params": [layer.bias], "lr": 0.5}], lr=0.1, **options)
        for step in range(6):
            if step == 3:
                state = optimizer.state_dict()
                optimizer = kind([{"params": [layer.weight]}, {"params": [layer.bias]}], **options)
                optimizer.load_state_dict(state)
            optimizer.zero_grad(set_to_none=True)
            layer(torch.randn(4, 3)).square().sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        assert layer.weight.is_leaf
        assert layer.weight.requires_grad
        weights.append(torch.cat([layer.weight.detach().flatten(), layer.bias.detach()]))
    assert torch.equal(*weights)


def test_hooks_and_closures_work() -> None:
    """A closure has gradients within the step, and hooks around it are called."""
    layer, called = torch.nn.Linear(2, 1), []
    optimizer = EagerAdamW(layer.parameters())
    optimizer.register_step_post_hook(lambda *given: called.append("after"))

    def loss() -> Any:
        optimizer.zero_grad()
        found = layer(torch.ones(1, 2)).sum()
        found.backward()
        return found

    before, expected = layer.weight.detach().clone(), layer(torch.ones(1, 2)).detach()
    assert torch.equal(optimizer.step(loss).detach(), expected.sum())
    assert called == ["after"]
    assert not torch.equal(layer.weight, before)


@pytest.mark.slow
def test_it_leaves_the_compiler_alone() -> None:
    """Neither making it, nor stepping, nor keeping its state imports the compiler."""
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
