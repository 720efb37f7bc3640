"""Each import contract in pyproject.toml fails when an import breaks it, and holds otherwise."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("nas", "search_spaces", "predictors", "experiments")
MOST_LAYERS = 14

BREAKS = {
    "rooms": ("nas/space/layer.py", "import nas.values.metric"),
    "siblings": ("nas/tables/table.py", "import nas.training.training"),
    "reports": ("nas/reports/cells.py", "import nas.searching.run"),
    "values": ("nas/values/metric.py", "import torch"),
    "space": ("nas/space/search_space.py", "import torch"),
    "optuna": ("nas/searching/run.py", "import optuna"),
    "ray": ("nas/jobs/resources.py", "import ray"),
    "plug-ins": ("nas/prediction/predictor.py", "import predictors.gp"),
    "experiments": ("predictors/gp.py", "import experiments.loads"),
    "predictors-and-spaces": ("search_spaces/blocks.py", "import predictors.gp"),
    "cycles": ("experiments/command_line.py", "import experiments.overhead"),
}
"""By contract, a module and an import that breaks it. ``siblings`` breaks the contract ``rooms`` in another way."""
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, so that a test can break it."""
    folder = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=lambda _, names: [n for n in names if "cache" in n])
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(house: Path, contract: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--no-cache", "--contract", contract]
    return subprocess.run(command, cwd=house, capture_output=True, text=True, timeout=120, check=False)


def test_every_contract_is_broken_by_one_of_these_tests() -> None:
    assert {contract["id"] for contract in CONTRACTS} == set(BREAKS) - {"siblings"}


def test_the_layers_are_few() -> None:
    """More layers than this permit almost every import."""
    layers = next(contract["layers"] for contract in CONTRACTS if contract["type"] == "layers")
    assert len(layers) <= MOST_LAYERS


@pytest.mark.slow
@pytest.mark.parametrize("name", BREAKS)
def test_an_import_that_breaks_a_contract_is_found(house: Path, name: str) -> None:
    """The contract is broken with the import, and kept without it."""
    contract = "rooms" if name == "siblings" else name
    assert lint(house, contract).returncode == 0
    file, line = BREAKS[name]
    module = house / file
    before = module.read_text()
    module.write_text(f"{before}\n\n{line}\n")
    try:
        done = lint(house, contract)
    finally:
        module.write_text(before)
    assert done.returncode == 1, done.stdout
    assert "BROKEN" in done.stdout
