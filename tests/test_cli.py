"""The command line as people use it: real processes, their exit status and what they print."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import telewire
from telewire.cli.main import main
from telewire.cli.outcomes import Status
from telewire.demo.run import TITLES
from telewire.demo.table import DEMONSTRATIONS, WINDOW_ITEMS, Demonstration, Record, folder, judge, load
from telewire.runtime.transport import TransportName

Run = Callable[..., subprocess.CompletedProcess[str]]
QUICKLY = ("--interval", "0.01")


def changed_examples(place: Path, name: str, old: str, new: str) -> Path:
    """A copy of the examples in which one of them is changed."""
    for path in folder().glob("*.py"):
        (place / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    source = (place / f"{name}.py").read_text(encoding="utf-8")
    assert old in source
    (place / f"{name}.py").write_text(source.replace(old, new), encoding="utf-8")
    return place


def test_version(run_python: Run) -> None:
    done = run_python("-m", "telewire", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"telewire, version {telewire.__version__}\n"


def test_help_names_the_commands(run_python: Run) -> None:
    done = run_python("-m", "telewire", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("serve", "call", "list", "trace", "decode", "demo"):
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", ["serve", "call", "list", "trace", "decode", "demo"])
def test_help_of_every_command_has_an_example(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "--help"]).output
    assert re.search(rf"Examples?:\n +telewire {name} ", shown)
    assert max(map(len, shown.splitlines())) <= 110


@pytest.mark.parametrize("name", ["call", "list", "trace"])
def test_help_tells_the_statuses_that_scripts_can_use(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "--help"]).output
    table = shown.partition("Exit status:\n")[2]
    assert [line.split()[0] for line in table.splitlines()] == [str(int(status)) for status in Status]


def test_an_unknown_command_is_refused(run_python: Run) -> None:
    done = run_python("-m", "telewire", "dance")
    assert done.returncode == 2
    assert "dance" in done.stderr


def test_every_example_is_demonstrated() -> None:
    programs = {path.stem for path in folder().glob("[a-z]*.py")}
    assert programs == {each.name for each in DEMONSTRATIONS}


def test_demo_shows_every_example_and_ends_well(run_python: Run) -> None:
    done = run_python("-m", "telewire", "demo", *QUICKLY)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    for demonstration in DEMONSTRATIONS:
        assert demonstration.shows in done.stdout
        assert f"{demonstration.name} over WebSocket" in done.stdout
        assert f"{demonstration.name} over HTTP" in done.stdout
    assert len(re.findall(r"│ HTTP  .*│ equal", done.stdout)) == len(DEMONSTRATIONS)
    assert "\n3\n2\n1\n0\n" in done.stdout
    assert load(folder(), "ai_chat").ANSWER in done.stdout  # type: ignore[attr-defined]
    assert "What arrived is what the other side recorded as sent." in done.stdout


def test_demo_of_one_example_over_one_transport(run_python: Run) -> None:
    done = run_python("-m", "telewire", "demo", "countdown", "--transport", "http", *QUICKLY)
    assert (done.returncode, done.stderr) == (0, "")
    assert "countdown over HTTP" in done.stdout
    assert "WebSocket" not in done.stdout
    assert "ticker" not in done.stdout


def test_demo_of_what_an_exchange_does_not_carry(run_python: Run) -> None:
    done = run_python("-m", "telewire", "demo", "mixed", "--transport", "exchange")
    assert (done.returncode, done.stderr) == (0, "")
    assert "one of each" not in done.stdout
    assert re.search("│ mixed .* │ exchanges .* │ needs a session │", done.stdout)


@pytest.mark.parametrize(
    ("over", "name", "old", "new", "sentence"),
    [
        (
            "websocket",
            "countdown",
            "sent.append(number)",
            "sent.append(-number)",
            "item 1 arrived as 3 and was recorded as -3",
        ),
        ("http", "countdown", "sent.append(number)", "...", "4 items arrived and 0 were recorded as sent"),
        ("websocket", "countdown", "arrived.append(number)", "...", "nothing arrived"),
        ("http", "ai_chat", "on_close(completion.cancel)", "on_close(print)", "should have cleaned up"),
        ("websocket", "ticker", "sent.append(tick)", "sent.append(tick + tick // 9)", "item 10 arrived as 9"),
    ],
)
def test_demo_fails_where_the_two_sides_differ(
    over: TransportName, name: str, old: str, new: str, sentence: str, run_python: Run, tmp_path: Path
) -> None:
    examples = changed_examples(tmp_path, name, old, new)
    done = run_python("-m", "telewire", "demo", name, *QUICKLY, "--transport", over, "--examples", examples)
    assert done.returncode == 1, done.stdout
    assert f"{name} over {TITLES[over]} FAILED" in done.stdout
    assert sentence in " ".join(done.stdout.split())
    assert "The demo FAILED." in done.stdout


def test_demo_fails_where_an_example_fails(run_python: Run, tmp_path: Path) -> None:
    examples = changed_examples(
        tmp_path, "countdown", "yield number", "raise ValueError('no')\n        yield 1"
    )
    done = run_python("-m", "telewire", "demo", "countdown", *QUICKLY, "--examples", examples)
    assert done.returncode == 1
    assert "RemoteError" in done.stdout


def test_demo_goes_on_behind_an_example_that_is_none(run_python: Run, tmp_path: Path) -> None:
    examples = changed_examples(tmp_path, "countdown", "import anyio", "import anyio, no_such_module")
    done = run_python("-m", "telewire", "demo", "countdown", "download", "--examples", examples)
    assert done.returncode == 1
    assert "countdown over WebSocket FAILED: ModuleNotFoundError" in done.stdout
    assert re.search(r"download .*│ equal", done.stdout)


def test_demo_skips_what_cannot_run_here(run_python: Run, tmp_path: Path) -> None:
    examples = changed_examples(tmp_path, "countdown", "service = ", "missing = 'no clock'\nservice = ")
    done = run_python("-m", "telewire", "demo", "countdown", *QUICKLY, "--examples", examples)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Skipped: no clock." in done.stdout
    assert "skipped" in done.stdout


def test_demo_fails_where_the_server_does_not_start(run_python: Run, tmp_path: Path) -> None:
    on_the_server = "import sys\nif sys.argv[0].endswith('server.py'): raise SystemExit('closed today')"
    examples = changed_examples(tmp_path, "countdown", "import anyio", f"import anyio\n{on_the_server}")
    done = run_python("-m", "telewire", "demo", "countdown", "--examples", examples)
    assert done.returncode == 1
    assert "closed today" in done.stderr
    assert "countdown over WebSocket FAILED: NetworkError: The server process has ended" in done.stdout


@pytest.mark.parametrize(
    ("arrived", "sent", "ahead", "good"),
    [
        ([1, 2], [1, 2], 0, True),
        ([1, 2], [1, 2, 3], 1, True),
        ([1, 2], [1, 2, 3, 4], 1, False),
        ([1, 2], [1], 5, False),
        ([1, 2], [1, 3], 5, False),
        ([], [], 5, False),
    ],
)
def test_the_verdict(arrived: list[int], sent: list[int], ahead: int, good: bool) -> None:
    demonstration = Demonstration("some", "something", ahead=ahead)
    record = Record(tuple(map(repr, sent)), ())
    assert (judge(demonstration, arrived, record) is None) is good
    assert (judge(demonstration, arrived, record, "exchange") is None) is good


def test_the_verdict_where_no_credit_holds_the_sender_back() -> None:
    endless = Demonstration("some", "something", ahead=WINDOW_ITEMS)
    record = Record(tuple(map(repr, range(2 * WINDOW_ITEMS))), ())
    assert judge(endless, [0], record, "exchange") is None
    assert judge(endless, [0], record) is not None
