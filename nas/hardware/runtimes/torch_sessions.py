"""Opened torch models: run once, timed by the device's own events on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from nas.formats.onnx_session import Arrays
from nas.hardware.runtimes.runtime import Float32Array, check_batch, most_common, random_images
from nas.hardware.runtimes.torch_devices import Device
from nas.hardware.runtimes.torch_programs import Opened, dtype_of
from nas.values.target import Target

if TYPE_CHECKING:
    import torch


@final
class TorchSession:
    """A model and its images, both on the device and in the executed precision."""

    def __init__(self, opened: Opened, target: Target, device: Device) -> None:
        import torch

        check_batch(opened.input_shape, target)
        self.opened, self.device = opened, device
        self._inference_mode = torch.inference_mode
        self._images = self._on_device(random_images(opened.input_shape))
        device.synchronise()

    def infer(self) -> None:
        """Submit one inference to the device, which may return before it has ended."""
        with self._inference_mode():
            self.opened.forward(self._images)

    def run(self) -> None:
        """Run one inference and wait for its end."""
        self.infer()
        self.device.synchronise()

    def outputs(self, inputs: Arrays) -> Float32Array:
        """Return the outputs of one batch. Raises ValueError for another shape than the model's input."""
        (images,) = inputs
        if images.shape != self.opened.input_shape:  # compiled code would read past the end
            raise ValueError(f"images must have the shape {self.opened.input_shape}, but have {images.shape}.")
        with self._inference_mode():
            logits = self.opened.forward(self._on_device(images))
            result: Float32Array = logits.float().cpu().numpy()
        return result

    def conditions(self) -> Mapping[str, Any]:
        """Return the executed precision, torch's settings and the state of the device."""
        import torch

        return {
            "executed_precision": most_common(self.opened.products),
            "input_shape": list(self.opened.input_shape),
            "intra_op_threads": torch.get_num_threads(),
            "inter_op_threads": torch.get_num_interop_threads(),
            "fp32_matmul_precision": torch.get_float32_matmul_precision(),
            **self.device.conditions(),
        }

    def _on_device(self, images: Float32Array) -> torch.Tensor:
        import torch

        return torch.tensor(images).to(self.device.name, dtype_of(self.opened.precision))


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
