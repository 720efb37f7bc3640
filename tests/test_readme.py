"""What the README promises, done as it says."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from nas.recipe.recipe import Recipe
from nas.space.search_space import load_space, sample

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_the_space_in_the_readme_is_searched_as_it_stands_there(tmp_path: Path) -> None:
    """The Python example runs, word for word, and prints winners that meet its limit."""
    text, _, _ = code_blocks("python")
    (tmp_path / "example.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=580, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "round 1/3: training" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("depth=")]
    assert lines
    for line in lines:
        match = re.fullmatch(r"depth=\d width=\d+ activation=\w+: ([\d.]+)%, ([\d.]+) ms", line)
        assert match, line
        assert float(match[2]) <= 1
    assert max(float(line.split(": ")[1].split("%")[0]) for line in lines) > 90


def test_the_predictor_in_the_readme_is_fitted_as_it_stands_there(tmp_path: Path) -> None:
    """On a table of twenty networks whose latency follows their widths."""
    space = load_space("mobilenet", {}, input_shape=(1, 28, 28), classes=10)
    rng = np.random.default_rng(0)
    networks = [sample(space, rng) for _ in range(20)]
    rows = [
        [str(c.options.index(n[c.name])) if c.name in n else "" for c in space.choices]
        + [f"{0.1 + 0.01 * int(n['head.width']):g}"]
        for n in networks
    ]
    header = [*(c.name for c in space.choices), "latency_ms_pixel3"]
    lines = "\n".join(",".join(row) for row in [header, *rows])
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(lines.encode()))
    _, text, _ = code_blocks("python")
    shown = "\nprint(*prediction.mean)"
    done = subprocess.run(
        [sys.executable, "-c", text + shown], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    means = [float(value) for value in done.stdout.split()]
    assert means == pytest.approx([float(row[-1]) for row in rows[:3]], rel=0.3)


def test_the_sampler_in_the_readme_proposes_as_it_stands_there(tmp_path: Path) -> None:
    """In a study of the reader's own."""
    _, _, text = code_blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", text + "\nprint(study.trials[0].values, architecture.short)"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.match(r"\[0.08, [\d.]+\] \w+", done.stdout.splitlines()[-1])


def test_the_recipes_in_the_readme_are_valid() -> None:
    """Each TOML example is a recipe, or a part of one."""
    whole, energy, sharing, table = (Recipe.from_mapping(tomllib.loads(text)) for text in code_blocks("toml"))
    assert whole.trials == 36
    assert energy.energy.gco2e_per_kwh == 390
    assert (sharing.evaluate, sharing.retraining.start) == ("supernet", "supernet")
    assert (table.evaluate, table.table.training_s) == ("table", 1200)


def test_every_module_has_its_line_in_the_readme() -> None:
    """A newcomer finds the job of each file."""
    table = README.split("## The code")[1]
    named = set(re.findall(r"`([a-z_0-9]+)[/*`_]", table))
    modules = {module.stem for module in (Path(__file__).parent.parent / "nas").glob("*.py")}
    unnamed = {module for module in modules - named if not module.startswith(("__", "report_"))}
    assert not unnamed
