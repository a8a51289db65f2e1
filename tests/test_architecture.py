"""The sans-IO layers import nothing that does I/O: read in their sources and seen in a fresh interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import telewire

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "telewire"

# Modules of the standard library without I/O, clock, randomness, threads or event loop.
PURE = {
    "__future__",
    "abc",
    "base64",
    "bisect",
    "collections",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "heapq",
    "hmac",
    "io",
    "ipaddress",
    "itertools",
    "math",
    "operator",
    "re",
    "reprlib",
    "string",
    "struct",
    "types",
    "typing",
    "typing_extensions",
    "uuid",
}
# Values are the wire's affair: times, decimals and addresses have no place in the state machine.
VALUES = {"base64", "datetime", "decimal", "fractions", "io", "ipaddress", "re", "uuid"}

# Layer → what it may import beyond itself.
MAY_IMPORT = {
    "errors": PURE - VALUES,
    "limits": PURE - VALUES,
    "wire": PURE | {"cbor2", "telewire.errors", "telewire.limits"},
    "core": (PURE - VALUES) | {"telewire.errors", "telewire.limits", "telewire.wire"},
}

# Nobody who wants the state machine alone may be made to load one of these.
DOES_IO = {
    "anyio",
    "asyncio",
    "click",
    "concurrent",
    "h11",
    "http",
    "logging",
    "msgspec",
    "pydantic",
    "rich",
    "select",
    "selectors",
    "sniffio",
    "socket",
    "ssl",
    "subprocess",
    "telewire_transports",
    "trio",
    "wsproto",
}


def sources() -> list[Path]:
    """Every module of the sans-IO layers."""
    modules = [PACKAGE / "errors.py", PACKAGE / "limits.py"]
    return modules + [path for layer in ("wire", "core") for path in sorted((PACKAGE / layer).rglob("*.py"))]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a module imports, at its top, in a function or for types only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def permitted(name: str, layer: str) -> bool:
    """Whether a module of that layer may import that name."""
    if name.startswith("telewire"):
        tops = {".".join(name.split(".")[:2])}
        return tops <= MAY_IMPORT[layer] | {f"telewire.{layer}"}
    return name.split(".")[0] in MAY_IMPORT[layer]


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_sans_io_modules_import_only_pure_ones(path: Path) -> None:
    layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    offending = [f"{path.name}:{line}: {name}" for line, name in imported(path) if not permitted(name, layer)]
    assert offending == []


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("asyncio.events", "core"),
        ("time", "core"),
        ("random", "wire"),
        ("cbor2", "core"),
        ("datetime", "core"),
        ("telewire", "core"),
        ("telewire.runtime.driver", "core"),
        ("telewire.core.states", "wire"),
        ("telewire.wire.frames", "errors"),
        (".frames", "wire"),
        ("", "wire"),
    ],
)
def test_the_rule_refuses_what_it_should(name: str, layer: str) -> None:
    assert not permitted(name, layer)


def modules_loaded_by(statement: str) -> set[str]:
    """Names of the top-level modules that a statement loads in an interpreter of its own."""
    code = (
        "import ast, sys\n"
        "sys.path[:0] = ast.literal_eval(sys.argv[1])\n"
        "before = set(sys.modules)\n"
        f"{statement}\n"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))\n"
    )
    places = repr([str(ROOT), str(ROOT / "transports")])
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, places], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(ast.literal_eval(done.stdout))


@pytest.mark.parametrize(
    "statement",
    [
        "from telewire import Connection, Limits, Abort",
        "from telewire.wire import BatchReader",
        "import telewire.errors, telewire.limits",
    ],
)
def test_the_state_machine_loads_no_io(statement: str) -> None:
    loaded = modules_loaded_by(statement)
    assert "telewire" in loaded
    assert loaded & DOES_IO == set()


def test_the_look_into_an_interpreter_sees_what_is_loaded() -> None:
    assert {"asyncio", "socket", "selectors"} <= modules_loaded_by("import asyncio") & DOES_IO


def test_every_public_name_can_be_had() -> None:
    missing = [name for name in telewire.__all__ if not hasattr(telewire, name)]
    assert missing == []
    assert set(telewire.__all__) <= set(dir(telewire))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = telewire.nonsense


def test_type_checkers_and_programs_find_the_lazy_names_in_the_same_modules() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (branch,) = (node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    for_types = {
        alias.asname or alias.name: node.module
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert for_types == telewire._LAZY
    assert set(for_types) <= set(telewire.__all__)


def test_lazy_names_are_the_objects_of_their_modules() -> None:
    for name, module in telewire._LAZY.items():
        assert getattr(telewire, name) is getattr(import_module(module), name)
