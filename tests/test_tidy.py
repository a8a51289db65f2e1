"""Rules of the house that a reader relies on and no linter knows, each as a test over the whole tree."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("telewire/", "transports/", "spec/telewire_spec/")

FILE_LINES = 600
FUNCTION_LINES = 80

RULE = re.compile(r"\bTW-[A-Z]+-[0-9]+\b")
# A rule is defined where its id opens a paragraph, list item, table row or heading of spec/*.md.
RULE_DEFINED = re.compile(r"^[\s>#|*`\[(-]*(TW-[A-Z]+-[0-9]+)\b", re.MULTILINE)

UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME)\b")
# A home, a scratch folder or a mount of one machine, and hosts that serve packages.
MACHINE = re.compile(
    r"(?<![\w.:/~-])/(?:work|tmp|root|home|Users|farm)/[\w.]|py"
    + r"thonhosted|py"
    + r"pi\.org|npm"
    + r"js\.",
)


@cache
def files() -> tuple[str, ...]:
    """Every file of the project, as a path from its root; nothing that a tool made."""
    made = {"build", "dist", "node_modules", "__pycache__", "corpus"}
    found = [path for path in ROOT.iterdir() if path.is_file() and path.suffix not in {".pyc"}]
    for folder in ROOT.iterdir():
        if folder.is_dir() and folder.name not in made and (folder.name[0] != "." or folder.name == ".ci"):
            found += (
                path
                for path in folder.rglob("*")
                if path.is_file() and not made & set(path.relative_to(ROOT).parts)
            )
    return tuple(sorted(path.relative_to(ROOT).as_posix() for path in found))


@cache
def text(path: str) -> str:
    """A file's text; empty where it is no text."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def python_files() -> list[str]:
    """Every Python source of the project."""
    return [path for path in files() if path.endswith(".py")]


def lines_with(pattern: re.Pattern[str], paths: Iterator[str] | list[str]) -> list[str]:
    """``path:line`` of every line that the pattern finds."""
    return [
        f"{path}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(text(path).splitlines(), 1)
        if pattern.search(line)
    ]


def test_the_tree_is_seen() -> None:
    assert {"telewire/errors.py", "pyproject.toml", ".ci/run", "tests/test_tidy.py"} <= set(files())


@pytest.mark.parametrize("path", python_files())
def test_a_file_says_first_why_it_exists(path: str) -> None:
    assert text(path).startswith(('"""', 'r"""')), "the first line is no docstring"
    first = (ast.get_docstring(ast.parse(text(path))) or "").partition("\n")[0]
    assert len(first) > 10, f"the first line says too little: {first!r}"


@pytest.mark.parametrize("path", python_files())
def test_a_file_can_be_read_in_one_sitting(path: str) -> None:
    assert len(text(path).splitlines()) <= FILE_LINES


@pytest.mark.parametrize("path", [path for path in python_files() if path.startswith(SHIPPED)])
def test_a_function_can_be_seen_at_once(path: str) -> None:
    long = [
        f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    ]
    assert long == []


@pytest.mark.parametrize("path", python_files())
def test_imports_are_absolute(path: str) -> None:
    relative = [
        node.lineno
        for node in ast.walk(ast.parse(text(path)))
        if isinstance(node, ast.ImportFrom) and node.level > 0
    ]
    assert relative == []


def test_nothing_is_left_unfinished() -> None:
    assert lines_with(UNFINISHED, list(files())) == []


def test_nothing_names_a_machine_or_a_package_host() -> None:
    assert lines_with(MACHINE, list(files())) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("see /tmp" + "/x", True),
        ("'/root" + "/.config'", True),
        ("https://files.py" + "thonhosted.org/x", True),
        ("http://host/home/page", False),
        ("benchmarks/work/results", False),
    ],
)
def test_the_machine_pattern_finds_paths_and_not_addresses(line: str, found: bool) -> None:
    assert bool(MACHINE.search(line)) is found


def defined_rules() -> Counter[str]:
    """Id of a rule → how often the specification defines it."""
    chapters = [path for path in files() if re.fullmatch(r"spec/[^/]+\.md", path)]
    return Counter(rule for path in chapters for rule in RULE_DEFINED.findall(text(path)))


def test_a_rule_of_the_specification_is_defined_once() -> None:
    assert [rule for rule, count in defined_rules().items() if count > 1] == []


def test_every_rule_that_is_quoted_exists() -> None:
    defined = defined_rules()
    quoting = [path for path in files() if path.endswith((".py", ".md", ".cddl", ".csv", ".json"))]
    unknown = [
        f"{path}: {rule}"
        for path in quoting
        for rule in sorted(set(RULE.findall(text(path))))
        if rule not in defined
    ]
    assert unknown == []
