"""torch's AdamW without its compiler, whose import would take each process that trains more than a second."""

from __future__ import annotations

import inspect
from typing import final

import torch


@final
class EagerAdamW(torch.optim.AdamW):
    """Steps as torch's own AdamW does.

    torch 2.13 imports its compiler for each optimiser, to tell it what not to compile: ``torch._dynamo``, with SymPy.
    So these are its functions from before they were wrapped for that. ``step`` then needs ``no_grad`` of its own.
    """

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
