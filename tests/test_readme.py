"""The programs of the README run as they stand there and print what stands below them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
# A program, the name of its file above it if it has one, and its output below it if it shows one.
PROGRAM = re.compile(
    r"(?:^`(?P<file>\w+\.py)`:\n\n)?^```python\n(?P<source>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
PROGRAMS = list(PROGRAM.finditer(TEXT))
FILES = {found["file"]: found for found in PROGRAMS if found["file"]}
ALONE = [found for found in PROGRAMS if not found["file"]]
Run = Callable[..., subprocess.CompletedProcess[str]]


def title(program: re.Match[str]) -> str:
    """The heading a program stands under."""
    return re.findall(r"^##? (.+)$", TEXT[: program.start()], re.MULTILINE)[-1]


def test_no_program_is_overlooked() -> None:
    assert len(PROGRAMS) == TEXT.count("```python")
    assert sorted(FILES) == ["client.py", "server.py"]
    assert len(ALONE) >= 3
    assert all(program["output"] for program in ALONE)


@pytest.mark.parametrize("program", ALONE, ids=title)
def test_a_program_prints_what_stands_below_it(
    program: re.Match[str], run_python: Run, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(program["source"], encoding="utf-8")
    done = run_python(tmp_path / "program.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == program["output"]


def test_the_countdown_between_two_programs(run_python: Run, tmp_path: Path) -> None:
    port_of_the_readme = "8000"
    assert port_of_the_readme in FILES["server.py"]["source"]
    assert port_of_the_readme in FILES["client.py"]["source"]
    server = tmp_path / "server.py"
    server.write_text(FILES["server.py"]["source"].replace(port_of_the_readme, "0"), encoding="utf-8")
    paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "transports", "spec"))
    with subprocess.Popen(
        [sys.executable, "-u", str(server)],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": paths},
    ) as serving:
        try:
            assert serving.stdout is not None
            said = serving.stdout.readline()
            assert said.startswith("serving on port ")
            client = tmp_path / "client.py"
            port = said.split()[-1]
            source = FILES["client.py"]["source"].replace(port_of_the_readme, port)
            client.write_text(source, encoding="utf-8")
            done = run_python(client)
        finally:
            serving.kill()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == FILES["client.py"]["output"]


def test_the_files_it_names_exist() -> None:
    named = re.findall(r"`((?:spec|telewire|transports|tests|fuzz|benchmarks|examples)/[\w/.]*)", TEXT)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_server_on_plain_sockets_is_short() -> None:
    source = next(found["source"] for found in ALONE if "def serve_one" in found["source"])
    assert len(source.split("# --- that was the server")[0].rstrip().splitlines()) < 40
