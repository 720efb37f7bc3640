"""A torch module as one file that loads without running code: a program of ``torch.export`` and raw weights."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.space.signature import TensorType

if TYPE_CHECKING:
    import torch

SAMPLE_INPUTS = "data/sample_inputs/"
"""The folder of an archive's sample inputs, its only pickle. They are emptied here, because nothing needs them."""
MODEL = "models/model.json"
KNOWN = re.compile(
    r"models/model\.json|archive_format|archive_version|byteorder|\.data/(version|serialization_id)|version|"
    r"data/sample_inputs/model\.pt|data/weights/(weight_\d+|model_weights_config\.json)|"
    r"data/constants/(tensor_\d+|model_constants_config\.json)",
    re.ASCII,
)
"""The files that an archive may hold. All other files that ``torch.export.load`` reads are pickled."""
RAW = re.compile(r"(weight|tensor)_\d+")
OPERATION = re.compile(r"torch\.ops\.(aten|prims|torchvision)\.\w+\.(?!__)\w+|_operator\.getitem", re.ASCII)
"""Operators that a program may call. Torch would look up any other name in its own modules, and these import ``os``."""
PLAIN = re.compile(r"[\w.+-]*", re.ASCII)
"""Names become Python source, so they may hold only these characters. ``-Infinity`` and versions match too."""
TEXT = re.compile(r"[\w ,.>+-]*", re.ASCII)
"""String arguments, such as ``none``, ``tanh`` or a rule for einsum."""
DUNDER = re.compile(r"(^|\.)__\w*__(\.|$)")
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, RuntimeError, EOFError),  # raised by zipfile
    *(UnicodeDecodeError, json.JSONDecodeError, LookupError, TypeError, AttributeError),  # JSON of another shape
)
STRUCTURES = ("builtins.tuple", "builtins.list", "builtins.dict", None)


def write_torch_program(module: torch.nn.Module, inputs: Sequence[TensorType], batch: int, path: Path) -> None:
    """Write ``module`` in eval mode for batches of ``inputs``.

    The file is written under another name and renamed. Exceptions of ``torch.export`` about a module that it cannot
    express are passed on, and so is OSError.

    Raises:
        ValueError: the module needs something that a program may not hold, such as varying sizes or custom operators.
    """
    import torch

    from nas.space.tracing import zero_inputs

    was_training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            program = torch.export.export(module, zero_inputs(inputs, batch))
    finally:
        module.train(was_training)
    save_torch_program(program, path)


def save_torch_program(program: torch.export.ExportedProgram, path: Path) -> None:
    """Write an exported program under another name and rename it. Paths of its source code are left out.

    Raises:
        ValueError: the program holds something that ``read_torch_program`` would refuse.
    """
    import torch

    whole, kept = io.BytesIO(), io.BytesIO()
    torch.export.save(program, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(kept, "w", zipfile.ZIP_STORED) as sink:
        for name in source.namelist():
            content = source.read(name)
            if _inside(name).startswith(SAMPLE_INPUTS):
                content = b""
            elif _inside(name) == MODEL:
                content = json.dumps(_without_metadata(json.loads(content))).encode()
            sink.writestr(zipfile.ZipInfo(name), content)
    _check_harmless(kept, path.name)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(kept.getbuffer())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read_torch_program(path: Path) -> torch.export.ExportedProgram:
    """Return the program in a file that ``write_torch_program`` made.

    Raises:
        ValueError: the file is no such program, or reading it could run code in it.
        OSError: the file cannot be read.
    """
    import torch

    archive = io.BytesIO(path.read_bytes())
    _check_harmless(archive, path.name)
    archive.seek(0)
    try:
        return torch.export.load(archive)
    except Exception as error:  # torch raises many exceptions for a damaged archive
        raise ValueError(f"a torch program must be whole, but {path.name} is not: {error!r}.") from error


def program_inputs(program: torch.export.ExportedProgram) -> tuple[torch.Tensor, ...]:
    """Return the program's inputs as tensors without data, with their shapes, which include the batch, and types.

    Raises:
        ValueError: a size is not fixed, or an input is no tensor.
    """
    import torch

    names = program.graph_signature.user_inputs
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    fixed = [isinstance(each, torch.Tensor) and all(isinstance(size, int) for size in each.shape) for each in values]
    if not values or not all(fixed):
        shapes = [getattr(each, "shape", each) for each in values]
        raise ValueError(f"a program must have inputs of fixed shapes, but they are {shapes}.")
    return tuple(values)


def program_input_shape(program: torch.export.ExportedProgram) -> tuple[int, ...]:
    """Return the shape of the program's one input of floats, including the batch.

    Raises:
        ValueError: there are several inputs, or one of whole numbers, or a size is not fixed.
    """
    inputs = program_inputs(program)
    if len(inputs) != 1 or not inputs[0].is_floating_point():
        described = [f"{each.dtype} of {tuple(each.shape)}" for each in inputs]
        raise ValueError(f"a program must have one input of floats here, but its inputs are {described}.")
    return tuple(inputs[0].shape)


def program_weight_bytes(program: torch.export.ExportedProgram) -> int:
    """Return the bytes of parameters, buffers and constants. Storage shared by several names counts once."""
    import torch

    tensors = [*program.state_dict.values(), *program.constants.values()]
    storages = [tensor.untyped_storage() for tensor in tensors if isinstance(tensor, torch.Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def _check_harmless(archive: io.BytesIO, file: str) -> None:
    """Raise ValueError unless the archive holds only raw tensors, JSON, and names of torch's own operators.

    Besides reading pickles, ``torch.export.load`` evaluates symbolic sizes and guards, and turns names into Python
    source.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            names = opened.namelist()
            if len(set(names)) != len(names) or len({name.partition("/")[0] for name in names}) != 1:
                raise ValueError(f"a torch program must hold every file once in one folder, but {file} has {names}.")
            for name in names:
                inside = _inside(name)
                if not KNOWN.fullmatch(inside):
                    raise ValueError(f"a torch program must hold no pickle, but {file} has {name}.")
                if inside.startswith(SAMPLE_INPUTS) and opened.getinfo(name).file_size:
                    raise ValueError(f"a torch program must hold no pickle, but {file} has sample inputs in {name}.")
                if inside.endswith("_config.json"):
                    _check_raw(json.loads(opened.read(name)), file)
                elif inside == MODEL:
                    _check_plain(json.loads(opened.read(name)), "", file)
    except UNREADABLE as error:
        raise ValueError(
            f"a torch program is a zip archive of JSON and tensors, but {file} is not: {error}."
        ) from error


def _check_raw(config: Any, file: str) -> None:
    for name, entry in config["config"].items():
        if entry["use_pickle"] is not False or not RAW.fullmatch(entry["path_name"]):
            raise ValueError(f"a torch program must hold no pickle, but {file} pickles its tensor {name}.")


def _check_plain(value: Any, key: str, file: str) -> None:
    """Check the graph's JSON recursively. ``key`` is the name of the value, or of the list that holds it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_plain(name, "", file)
            _check_plain(inner, name, file)
    elif isinstance(value, list):
        for inner in value:
            _check_plain(inner, key, file)
    if key in ("in_spec", "out_spec") and isinstance(value, str):
        _check_structure(json.loads(value)[1], file)
    elif key == "expr_str" or (key in ("guards_code", "metadata", "range_constraints") and value):
        raise ValueError(f"a torch program must have fixed sizes and no {key}, but {file} has {value!r}.")
    elif isinstance(value, str):
        rule = {"target": OPERATION, "as_operator": OPERATION, "as_string": TEXT, "as_strings": TEXT}.get(key, PLAIN)
        if not rule.fullmatch(value) or (key.endswith(("_name", "fqn")) and DUNDER.search(value)):
            what = "call torch's own operators only" if rule is OPERATION else "hold plain names only"
            raise ValueError(f"a torch program must {what}, but {file} has {key} {value!r}.")


def _check_structure(structure: Any, file: str) -> None:
    if structure["type"] not in STRUCTURES:
        raise ValueError(f"a torch program takes and gives tensors, but {file} has a {structure['type']!r}.")
    for child in structure["children_spec"]:
        _check_structure(child, file)


def _without_metadata(value: Any) -> Any:
    """Return the graph's JSON without stack traces, which reveal paths of this machine."""
    if isinstance(value, dict):
        return {key: {} if key == "metadata" else _without_metadata(inner) for key, inner in value.items()}
    return [_without_metadata(inner) for inner in value] if isinstance(value, list) else value


def _inside(name: str) -> str:
    """Return a name within an archive without the archive's top folder."""
    return name.partition("/")[2]
