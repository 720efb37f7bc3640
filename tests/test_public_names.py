"""The public names of ``nas``: light to import, complete, typed, and each of them there."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import nas
import nas.errors
from nas.recipe.recipe import Recipe

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "ray", "optuna", "pandas", "sklearn", "scipy", "pydantic", "onnx", "onnxruntime", "timm")


def imported_from_inside(folder: str) -> set[str]:
    """The names that the modules of a top-level folder import from the rooms of ``nas``."""
    names = set()
    for module in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nas":
                names |= {alias.name for alias in node.names}
    return names


def test_importing_nas_loads_nothing_heavy() -> None:
    """Nor does listing its names, its version or an exception."""
    code = (
        "import sys, nas; dir(nas); nas.__version__; nas.RecipeError; nas.__all__; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in dir(nas):
        assert getattr(nas, name) is not None
    assert set(nas.__all__) == set(dir(nas)) - {"__version__"}
    assert nas.__version__ == importlib.metadata.version("nas")


def test_every_exception_is_public() -> None:
    exceptions = {name for name, value in vars(nas.errors).items() if isinstance(value, type)}
    assert {name for name in exceptions if name.endswith("Error")} <= set(dir(nas))
    assert issubclass(nas.RecipeError, nas.NasError)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["predictors", "search_spaces", "experiments"])
def test_names_that_our_own_plug_ins_use_are_public(folder: str) -> None:
    """So that a third party's plug-in needs nothing from inside.

    Types of journal rows and reports are left out, and what experiments need that train and measure outside a search.
    So is the regression of layers' costs, which additive costs share with the profiles of networks, and the regression
    of heads, which linear models share with them, as trees share the rounding of thresholds with the baseline. Five
    names are those whose own cost an experiment measures, and one is a runtime whose rules it leaves out. An executor
    with a virtual clock drives a run's own rounds. What finds rows that depend on each other is itself measured.
    """
    inside = {"read_rows", "Journal", "JournalReader", "Cost", "SEARCH", "RECIPE", "pareto", "Began", "RoundEnded"}
    inside |= {"MeasuringProcess", "cache_bytes", "response", "smoothed", "check_uses", "LineProcess"}
    inside |= {"Presence", "Ratios", "paired", "onnx_runtime"}
    inside |= {"Score", "in_order", "torch_with", "render_report"}
    inside |= {"fitted_boosting", "moment"}
    inside |= {"TrainingSettings", "retraining_settings", "shrinking_recipe"}
    inside |= {"Surroundings", "measure_architectures", "as_executed"}
    inside |= {"POOL", "most_informative", "own_features", "prior_covariance"}
    inside |= {"ProfiledNetwork", "profiled_network", "profiled_costs", "PRECISION", "with_precisions"}
    inside |= {"LayerCosts", "LayerProcess", "fit_layer_process", "shrunk_costs", "terms_of"}
    inside |= {"regression", "floored", "IntArray", "keep_classes", "parts_left_out", "without"}
    inside |= {"HEADS", "features_of", "from_fitted_head", "inheritance_of", "parent_settings"}
    inside |= {"SupernetTrained", "WayChosen", "Inheritance", "PARENT_WEIGHTS", "SUPERNET_WEIGHTS", "usable_cores"}
    inside |= {"Beliefs", "WholeCurves", "known_losses", "told"}
    inside |= {"JobSource", "Outcome", "Relay", "Work", "as_failure", "hard_limit_of", "reports_of"}
    inside |= {"RunState", "Resolved", "LookHere", "OF_IMAGES", "cost_of", "train_round", "Fitting", "MeasuringBeside"}
    inside |= {"dependence", "signs_of_rows", "identifying_columns", "raw_columns", "target_of"}
    inside |= {"DEVIATIONS", "HUBER", "KIND_SHARE", "FloatArray", "IndexArray", "torch_settings"}
    assert imported_from_inside(folder) - set(dir(nas)) - inside == set()


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'Recip'\. Did you mean 'Recipe'"):
        nas.Recip  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match=r"dir\(nas\) lists the public names"):
        nas.xyzzy  # type: ignore[attr-defined]  # noqa: B018


def test_the_typed_signature_of_a_recipe_names_its_keys() -> None:
    """Type checkers see this signature; the keys themselves are pydantic's fields."""
    tree = ast.parse((ROOT / "nas" / "recipe" / "recipe.py").read_text(encoding="utf-8"))
    signatures = [
        [argument.arg for argument in node.args.kwonlyargs]
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "__init__" and node.args.kwonlyargs
    ]
    assert signatures == [list(Recipe.model_fields)]


def test_every_key_of_a_recipe_has_a_description() -> None:
    for name, field in Recipe.model_fields.items():
        assert field.description, name
        section = field.annotation
        for key, inner in getattr(section, "model_fields", {}).items():
            assert inner.description, f"{name}.{key}"


@pytest.mark.slow
def test_mypy_refuses_a_wrong_call_and_accepts_right_ones(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(
        "import nas\n"
        "recipe = nas.Recipe(data='digits', limits=['latency_ms <= 1ms'], trials=12, training={'epochs': 4})\n"
        "front: nas.Front = nas.search(recipe, progress=None)\n"
        "for winner in front[:2]:\n    print(winner.test_error + 1, winner.load().eval())\n"
        "run: nas.Run = nas.load_run('runs/digits')\n",
        encoding="utf-8",
    )
    wrong = {
        "nas.Recipe(trails=12)": 'Unexpected keyword argument "trails"',
        "nas.Recipe(trials='12')": 'has incompatible type "str"; expected "int"',
        "nas.search({}, spce=None)": 'Unexpected keyword argument "spce"',
        "nas.Recip()": "has no attribute",
    }
    (tmp_path / "wrong.py").write_text("import nas\n\n" + "\n".join(wrong) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(ROOT / ".mypy_cache")]
    command += ["--config-file", str(ROOT / "pyproject.toml"), str(tmp_path / "right.py"), str(tmp_path / "wrong.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    lines = [line for line in done.stdout.splitlines() if "error:" in line]
    assert not [line for line in lines if "right.py" in line]
    assert len(lines) == len(wrong)
    for line, text in zip(lines, wrong.values(), strict=True):
        assert text in line
