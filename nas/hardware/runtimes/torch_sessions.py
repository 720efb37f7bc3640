"""Opened torch models: run once, timed by the device's own events on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import numpy as np

from nas.formats.model_inputs import Input, random_inputs
from nas.formats.onnx_session import Arrays
from nas.hardware.runtimes.runtime import Float32Array, check_batch, most_common, told_shape
from nas.hardware.runtimes.torch_devices import Device
from nas.hardware.runtimes.torch_programs import Opened
from nas.values.target import Target

if TYPE_CHECKING:
    import torch


@final
class TorchSession:
    """A model and its inputs, both on the device and in the executed precision.

    Inputs of whole numbers are 0 and 1, because a program does not tell how many values they have.
    """

    def __init__(self, opened: Opened, target: Target, device: Device) -> None:
        import torch

        for shape, _ in opened.inputs:
            check_batch(shape, target)
        self.opened, self.device = opened, device
        self._inference_mode = torch.inference_mode
        declared = [
            Input(str(number), np.dtype("int64" if "int" in dtype else "float32"), shape)
            for number, (shape, dtype) in enumerate(opened.inputs)
        ]
        self._inputs = self._on_device(list(random_inputs(tuple(declared)).values()))
        device.synchronise()

    def infer(self) -> None:
        """Submit one inference to the device, which may return before it has ended."""
        with self._inference_mode():
            self.opened.forward(*self._inputs)

    def run(self) -> None:
        """Run one inference and wait for its end."""
        self.infer()
        self.device.synchronise()

    def outputs(self, inputs: Arrays) -> Float32Array:
        """Return the outputs of one batch. Raises ValueError for other shapes than those of the model's inputs."""
        given, wanted = [each.shape for each in inputs], [shape for shape, _ in self.opened.inputs]
        if given != wanted:  # compiled code would read past the end
            raise ValueError(f"inputs must have the shapes {wanted}, but have {given}.")
        with self._inference_mode():
            output = self.opened.forward(*self._on_device(inputs))
            result: Float32Array = output.float().cpu().numpy()
        return result

    def conditions(self) -> Mapping[str, Any]:
        """Return the executed precision, torch's settings and the state of the device."""
        import torch

        return {
            "executed_precision": most_common(self.opened.products),
            "input_shape": told_shape(shape for shape, _ in self.opened.inputs),
            "intra_op_threads": torch.get_num_threads(),
            "inter_op_threads": torch.get_num_interop_threads(),
            "fp32_matmul_precision": torch.get_float32_matmul_precision(),
            **self.device.conditions(),
        }

    def _on_device(self, inputs: Arrays) -> list[torch.Tensor]:
        import torch

        return [
            torch.tensor(each).to(self.device.name, getattr(torch, dtype))
            for each, (_, dtype) in zip(inputs, self.opened.inputs, strict=True)
        ]


@final
class EventTimedSession:
    """A session on a device that works asynchronously. It times an inference between two events in the queue."""

    def __init__(self, session: TorchSession) -> None:
        self._session = session
        self._start, self._end = session.device.event(), session.device.event()

    def run(self) -> None:
        """Run one inference and wait for its end."""
        self._session.run()

    def timed_run_ms(self) -> float:
        """Run one inference to its end and return the milliseconds between the two events."""
        self._start.record()
        self._session.infer()
        self._end.record()
        self._end.synchronize()
        return self._start.elapsed_time(self._end)

    def outputs(self, inputs: Arrays) -> Float32Array:
        """Return the outputs of one batch, as ``TorchSession`` does."""
        return self._session.outputs(inputs)

    def conditions(self) -> Mapping[str, Any]:
        """Return the session's conditions and the clock."""
        return {**self._session.conditions(), "clock": "events of the device"}
