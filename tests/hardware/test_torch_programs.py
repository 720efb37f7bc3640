"""Torch programs that run operation by operation: their outputs, precision and threads."""

from __future__ import annotations

import copy
import json
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_models import BF16_TOLERANCE, SHAPE, difference, outputs_of

from nas.formats.torch_program import write_torch_program
from nas.hardware.runtimes.runtime import ExportedModel, Float32Array
from nas.hardware.runtimes.torch_programs import is_product
from nas.hardware.runtimes.torch_runtime import TorchCpu
from nas.space.signature import image_inputs
from nas.values.target import Target

pytest_plugins = ("torch_fixtures",)
pytestmark = pytest.mark.usefixtures("same_torch")


class TestEager:
    def test_gives_the_module_s_outputs_in_fp32(self, network: Any, images: Float32Array, tmp_path: Path) -> None:
        """Outputs are equal to the last bit, and the exported file itself is run."""
        module, path = network
        target = Target("torch-cpu", batch=2)
        deployed = TorchCpu().convert(ExportedModel(path), target, tmp_path)
        assert deployed.path == path
        assert list(tmp_path.iterdir()) == []
        session = TorchCpu().open(deployed.path, target)
        assert np.array_equal(session.outputs([images]), outputs_of(module, images))
        assert session.conditions()["executed_precision"] == "fp32"

    @pytest.mark.slow
    def test_gives_nearly_the_module_s_outputs_in_bf16(
        self, network: Any, images: Float32Array, tmp_path: Path
    ) -> None:
        """Outputs are float32, all products run in bf16, and the weights take half the bytes."""
        module, path = network
        target = Target("torch-cpu", "bf16", batch=2)
        deployed = TorchCpu().convert(ExportedModel(path), target, tmp_path)
        session = TorchCpu().open(deployed.path, target)
        outputs = session.outputs([images])
        assert outputs.dtype == np.float32
        assert 0 < difference(outputs, outputs_of(module, images)) < BF16_TOLERANCE
        assert session.conditions()["executed_precision"] == "bf16"
        whole = TorchCpu().convert(ExportedModel(path), Target("torch-cpu", batch=2), tmp_path)
        assert deployed.weight_bytes == pytest.approx(whole.weight_bytes / 2, rel=0.01)
        assert deployed.file_bytes < 0.75 * whole.file_bytes

    def test_is_what_the_module_in_bf16_gives(self, images: Float32Array, small_program: Any, tmp_path: Path) -> None:
        """Converting the program and converting the module give the same outputs."""
        module, path = small_program
        target = Target("torch-cpu", "bf16", batch=2)
        deployed = TorchCpu().convert(ExportedModel(path), target, tmp_path)
        with torch.inference_mode():
            expected = copy.deepcopy(module).to(torch.bfloat16)(torch.tensor(images).bfloat16()).float().numpy()
        assert np.array_equal(TorchCpu().open(deployed.path, target).outputs([images]), expected)

    def test_has_conditions_in_plain_json(self, small_program: Any) -> None:
        """The conditions survive JSON and include the shape of the images."""
        session = TorchCpu().open(small_program[1], Target("torch-cpu", batch=2))
        session.run()
        conditions = json.loads(json.dumps(dict(session.conditions()), allow_nan=False))
        assert conditions["input_shape"] == [2, *SHAPE]
        assert conditions["fp32_matmul_precision"] == "highest"

    def test_reads_the_precision_back(self, tmp_path: Path) -> None:
        """The executed precision comes from the operators that run, not from the target."""

        class Mixed(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.convolution = torch.nn.Conv2d(3, 4, 3)
                self.layer = torch.nn.Linear(4, 4).bfloat16()

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                features = self.convolution(images).mean((2, 3)).bfloat16()
                return self.layer(self.layer(features)).float()

        path = tmp_path / "model.pt2"
        write_torch_program(Mixed(), image_inputs(SHAPE), 1, path)
        conditions = TorchCpu().open(path, Target("torch-cpu")).conditions()
        assert conditions["executed_precision"] == "bf16 in 2 of 3 products"

    @pytest.mark.parametrize("threads", [1, 2])
    def test_uses_the_target_s_threads(self, small_program: Any, threads: int) -> None:
        """The conditions record the number of threads that torch reports."""
        session = TorchCpu().open(small_program[1], Target("torch-cpu", batch=2, threads=threads))
        assert torch.get_num_threads() == threads
        assert session.conditions()["intra_op_threads"] == threads

    def test_runs_on_no_file_of_another_precision(self, small_program: Any) -> None:
        """A file that was not deployed for bf16 is refused, because it would be measured in fp32."""
        with pytest.raises(ValueError, match=r"convert\(\).*fp32"):
            TorchCpu().open(small_program[1], Target("torch-cpu", "bf16", batch=2))

    def test_converts_types_that_the_module_names(self, images: Float32Array, tmp_path: Path) -> None:
        """A mask created as float32 and a cast to float32 do not break a model in bf16."""

        class Casting(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = torch.nn.Linear(32, 4)

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                mask = torch.ones(32, dtype=torch.float32)
                return self.layer(images.to(torch.float32) * mask).mean((1, 2))

        path = tmp_path / "model.pt2"
        module = Casting()
        write_torch_program(module, image_inputs(SHAPE), 2, path)
        target = Target("torch-cpu", "bf16", batch=2)
        (tmp_path / "deployed").mkdir()
        session = TorchCpu().open(TorchCpu().convert(ExportedModel(path), target, tmp_path / "deployed").path, target)
        assert session.conditions()["executed_precision"] == "bf16"
        assert difference(session.outputs([images]), outputs_of(module, images)) < BF16_TOLERANCE


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("aten.conv2d.default", True),
        ("aten._convolution.default", True),
        ("aten.convolution.default", True),
        ("mkldnn._convolution_pointwise.default", True),
        ("mkldnn._linear_pointwise.default", True),
        ("mkldnn._reorder_convolution_weight.default", False),
        ("aten.linear.default", True),
        ("aten.addmm.default", True),
        ("aten.baddbmm.default", True),
        ("aten._addmm_activation.default", True),
        ("aten._scaled_dot_product_flash_attention_for_cpu.default", True),
        ("aten.upsample_bilinear2d.default", False),
        ("prims.convert_element_type.default", False),
        ("aten.add.Tensor", False),
        ("aten.mul.Tensor", False),
    ],
)
def test_products_are_what_multiplies_and_adds(operator: str, expected: bool) -> None:
    """Only torch's operators that multiply and add count as products; casts and resizing do not."""
    assert is_product(attrgetter(operator)(torch.ops)) is expected
