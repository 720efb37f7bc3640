"""Bad search spaces: names that lead nowhere, classes that are none, and code that fails in every way."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from bad_inputs.bad_input import BadInput

SEARCH = ("search", "--data", "digits", "--executor", "inline", "--trials", "1", "--objective", "error")
CHOICES = 'choices = (nas.Choice("width", (4, 8)),)'
BUILD = """
def build(self, architecture):
    raise RuntimeError("not built in this test")
"""


def written(code: str, name: str = "own.py") -> Callable[[Path], object]:
    """Return what writes ``code`` into the module ``name``."""
    return lambda folder: (folder / name).write_text(textwrap.dedent(code), encoding="utf-8")


def space(*members: str, before: str = "") -> Callable[[Path], object]:
    """Return what writes the module ``own`` with a class ``Space`` of these members."""
    body = "\n".join(textwrap.indent(textwrap.dedent(member).strip(), "    ") for member in members)
    return written(f"import nas\n{textwrap.dedent(before)}\n\nclass Space:\n{body}\n")


def choices(text: str) -> Callable[[Path], object]:
    """Return what writes a space with these choices."""
    return space(f"choices = ({text},)", BUILD, before="import numpy as np\nimport enum\n")


PLAIN = space(CHOICES, BUILD)


def named(name: str, *says: str, prepare: Callable[[Path], object] = PLAIN) -> BadInput:
    """Return a search in a space of this name, which is refused."""
    return BadInput((*SEARCH, "--space", name), says, prepare)


def refused(prepare: Callable[[Path], object], *says: str, options: tuple[str, ...] = ()) -> BadInput:
    """Return a search in the space ``own:Space``, which is refused."""
    return BadInput((*SEARCH, "--space", "own:Space", *options), says, prepare)


NAMES = {
    "no module": named(":Space", "named module:Name", "':Space'"),
    "a parent folder": named("..:Space", "named module:Name", "'..:Space'"),
    "a relative module": named(".own:Space", "as an import does", "own:Space"),
    "a file": named("own.py:Space", "without .py and with dots: own:Space"),
    "a path": named("spaces/own.py:Space", "spaces.own:Space"),
    "a path with backslashes": named("spaces\\own.py:Space", "spaces.own:Space"),
    "an absolute path": named("/tmp/own.py:Space", "in the folder in which it lies"),
    "a file without a class": named("own.py", "write own:Name"),
    "a module without a class": named("own", "write own:Name"),
    "no name": named("own:", "named module:Name"),
    "two colons": named("own:Space:more", "named module:Name"),
    "a call": named("own:Space()", "named module:Name"),
    "an attribute of a class": named("own:Space.inner", "named module:Name"),
    "a space in the name": named("my own:Space", "named module:Name"),
    "a keyword": named("import:Space", "named module:Name"),
    "a null byte": named("own:Sp\0ace", "space.name: must be text in UTF-8 without NUL"),
    "letters that are no text": named("own:\udcff", "space.name: must be text in UTF-8"),
    "an empty name": named("", "unknown search space ''"),
    "a misspelt class": named("own:Spaec", "has no 'Spaec'. Did you mean 'Space'?"),
    "a misspelt module": named("onw:Space", "neither installed nor in"),
    "a package's missing module": named("nas.nothing:Space", "neither installed nor in"),
    "a shell": named("os:system", "must be a class", "system"),
    "a process": BadInput(
        (*SEARCH, "--space", "subprocess:Popen", "--set", 'space.args=["touch", "harm"]'),
        ("Popen has no method build(architecture) and no choices",),
    ),
    "a module's object": named("os:path", "must be a class", "module"),
    "an object of the class": named(
        "own:space",
        "must be a class with choices and a method build, but got a Space",
        prepare=written("class Space:\n    choices = ()\n    def build(self, a): ...\nspace = Space()\n"),
    ),
    "a function that makes a space": named(
        "own:make", "must be a class", "function", prepare=written("def make(): ...\n")
    ),
}
IMPORTS = {
    "a module that does not parse": refused(written("class Space\n"), "SyntaxError", "own.py, line 1"),
    "a module that raises": refused(written("raise KeyError('boom')\n"), "KeyError: 'boom'", "own.py, line 1"),
    "a module that needs another": refused(written("import nothing_at_all\n"), "nothing_at_all", "own.py, line 1"),
    "a module in latin-1": refused(
        lambda folder: (folder / "own.py").write_bytes(b"text = '\xe9'\n"), "fails to import", "SyntaxError"
    ),
    "a module of zeros": refused(lambda folder: (folder / "own.py").write_bytes(bytes(64)), "fails to import", "null"),
    "a module that ends Python": refused(written("import sys\nsys.exit(0)\n"), "SystemExit: 0", "own.py, line 2"),
    "a module that ends its process": refused(
        written("import os\nos._exit(0)\n"), "fails to import: ProcessExitError: os._exit(0)"
    ),
    "a module that aborts": refused(
        written("import os\nos.kill(os.getpid(), 6)\n"), "importing it ended its process with signal 6"
    ),
    "a module that hangs": refused(
        written("import time\ntime.sleep(300)\n"),
        "importing it must come back within",
        "execution.first_look_limit_s",
        options=("--set", "execution.first_look_limit_s=0.5"),
    ),
    "a module that imports itself": refused(written("from own import Space\n"), "fails to import", "circular"),
    "a folder in the place of a module": refused(lambda folder: (folder / "own").mkdir(), "has no 'Space'"),
}
CLASSES = {
    "no choices": refused(space(BUILD), "Space has no choices"),
    "no build": refused(space(CHOICES), "Space has no method build(architecture)"),
    "a build that is no method": refused(space(CHOICES, "build = 3"), "has no method build"),
    "choices that are none": refused(space("choices = None", BUILD), "those of Space are None"),
    "choices that are empty": refused(space("choices = ()", BUILD), "at least one choice", "has none"),
    "choices that are a text": refused(space("choices = 'width'", BUILD), "those of Space are 'width'"),
    "choices that are a dictionary": refused(space("choices = {'width': (1, 2)}", BUILD), "a tuple of nas.Choice"),
    "choices that run out": refused(
        space("choices = (nas.Choice(n, (1, 2)) for n in 'ab')", BUILD), "a tuple of nas.Choice objects"
    ),
    "choices that are a method": refused(
        space("def choices(self):\n    return (nas.Choice('width', (4, 8)),)", BUILD), "a tuple of nas.Choice objects"
    ),
    "choices that raise": refused(
        space("@property\ndef choices(self):\n    return 1 / 0", BUILD), "ZeroDivisionError", "own.py, line "
    ),
    "choices that end Python": refused(
        space("@property\ndef choices(self):\n    raise SystemExit(3)", BUILD), "SystemExit: 3"
    ),
    "choices that change": refused(
        space(
            "@property\ndef choices(self):\n    return (nas.Choice('width', (4, random.randrange(9, 999999))),)",
            BUILD,
            before="import random",
        ),
        "must be the same at each reading",
    ),
    "choices that are classes": refused(space("choices = (nas.Choice,)", BUILD), "must be nas.Choice objects"),
    "a constructor that raises": refused(
        space(CHOICES, "def __init__(self):\n    raise OSError('no weights')", BUILD),
        "cannot be made: OSError: no weights",
        "own.py, line ",
    ),
    "a constructor that wants more": refused(
        space(CHOICES, "def __init__(self, teacher):\n    pass", BUILD), "'own:Space' needs space.teacher, but got none"
    ),
    "a constructor that ends Python": refused(
        space(CHOICES, "def __init__(self):\n    quit()", BUILD), "cannot be made: SystemExit"
    ),
    "a constructor that makes something else": refused(
        space(CHOICES, "def __new__(cls):\n    return 3", BUILD), "must have a method build", "int has none"
    ),
    "a class that leaves out build": refused(
        written(
            """
            import abc
            import nas

            class Space(abc.ABC):
                choices = (nas.Choice("width", (4, 8)),)

                @abc.abstractmethod
                def build(self, architecture): ...
            """
        ),
        "cannot be made",
        "abstract",
    ),
    "an option that it does not take": refused(
        space(CHOICES, BUILD), "has no option 'depth'", options=("--set", "space.depth=3")
    ),
    "a duplicate name": refused(choices('nas.Choice("a", (1, 2)), nas.Choice("a", (1, 2))'), "'a' comes twice"),
    "a condition on a later choice": refused(
        choices('nas.Choice("a", (1, 2), when=("b", (1,))), nas.Choice("b", (1, 2))'), "does not come before it"
    ),
    "a condition on itself": refused(choices('nas.Choice("a", (1, 2), when=("a", (1,)))'), "does not come before it"),
    "too many choices": refused(
        space("choices = tuple(nas.Choice(str(n), (1, 2)) for n in range(5000))", BUILD), "at most 1,000", "has 5,000"
    ),
}
OPTIONS = {
    "an option that is not a number": refused(choices('nas.Choice("a", (1.0, float("nan")))'), "finite", "got nan"),
    "a million options": refused(choices('nas.Choice("a", range(10**6))'), "1 to 1,000 options", "1,000,000"),
    "a condition with one option": refused(
        choices('nas.Choice("d", (1, 2)), nas.Choice("a", (1, 2), when=("d", 1))'), "a condition of choice 'a'"
    ),
}
PLUG_INS = {
    "a shell as a predictor": BadInput((*SEARCH, "--set", "predictor=os:system"), ("a predictor must be a function",)),
    "a process as a predictor": BadInput((*SEARCH, "--set", "predictor=subprocess:run"), ("that takes (space,",)),
    "a module as a predictor": BadInput((*SEARCH, "--set", "predictor=os:path"), ("that takes (space,",)),
    "a shell as a sampler": BadInput((*SEARCH, "--sampler", "os:system"), ("that takes (describer,",)),
    "a class of Optuna's as a sampler": BadInput(
        (*SEARCH, "--sampler", "optuna.samplers:TPESampler"), ("that takes (describer,",)
    ),
    "a sampler that makes none": BadInput(
        (*SEARCH, "--sampler", "own:make"),
        ("a sampler must be one of Optuna's, but 'own:make' returned a int",),
        written("def make(describer, *, seed, known, accept, prior, weigh_time):\n    return 3\n"),
    ),
    "a sampler that ends Python": BadInput(
        (*SEARCH, "--sampler", "own:make"),
        ("cannot be made", "SystemExit: 1"),
        written("def make(describer, **options):\n    raise SystemExit(1)\n"),
    ),
    "a sampler's file": BadInput((*SEARCH, "--sampler", "own.py:make"), ("without .py and with dots: own:make",)),
    "a process as a target": BadInput(
        (*SEARCH, "--target", "subprocess:Popen"), ("a class with the methods of nas.Runtime",)
    ),
    "a process as a runtime": BadInput(
        ("measure", "--target", "subprocess:Popen", "--space", "mobilenet", "--out", "t.csv.gz"),
        ("a class with the methods of nas.Runtime",),
    ),
}
BAD_INPUTS = {**NAMES, **IMPORTS, **CLASSES, **OPTIONS, **PLUG_INS}
