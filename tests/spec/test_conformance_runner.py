"""``telewire-spec``: drivers as processes, verdicts, known failures, reports, and servers on the wire."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from telewire.limits import Limits
from telewire_spec.casefile import CASE_KEYS, STEPS, Case, load_suites
from telewire_spec.cli import plan_of
from telewire_spec.driver import telling
from telewire_spec.driver.application import Application
from telewire_spec.engine import PASSING, Result, run_case
from telewire_spec.layout import CODES, NAMES, limit_numbers
from telewire_spec.plan import known_failing, summarise
from telewire_spec.process import ProcessSubject
from telewire_spec.subject import SubjectFailed, Unsupported
from telewire_spec.watch import DEFAULTS
from telewire_spec.wire import UrlSubject
from tests.cli import serving
from tests.test_registries import numbers

DRIVER = f"{shlex.quote(sys.executable)} -m telewire_spec.driver"
PATIENCE = 60.0
"""Seconds for what a loaded machine may take; nothing waits for them where all is well."""
Run = Callable[..., subprocess.CompletedProcess[str]]
CASES = load_suites()


def script(tmp_path: Path, text: str) -> str:
    """The command of a driver that is written in a line or two."""
    path = tmp_path / "driver.py"
    path.write_text("import sys\nfrom telewire_spec.driver.framing import *\n" + text, encoding="utf-8")
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(path))}"


def test_our_driver_passes_the_core_set(run_python: Run, tmp_path: Path) -> None:
    paths = {name: tmp_path / "reports" / f"report.{name}" for name in ("json", "junit", "html")}
    options = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
    patient = ["--patience", str(PATIENCE)]
    arguments = ["run", "--command", DRIVER, "--set", "core", "--seed", "4", *options, *patient]
    done = run_python("-m", "telewire_spec", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"conformance: \d+ pass$", done.stdout, re.MULTILINE)
    told = json.loads(paths["json"].read_text(encoding="utf-8"))
    assert (told["good"], told["seed"], set(told["counts"])) == (True, "4", {"pass"})
    suites = ElementTree.fromstring(paths["junit"].read_text(encoding="utf-8"))
    assert sum(int(suite.get("tests", "0")) for suite in suites) == len(told["results"]) > 300
    page = paths["html"].read_text(encoding="utf-8")
    assert "Matrix" in page
    assert "calls/answer/value" in page
    assert not re.search(r"(?:src|href)=\"(?!#)", page), "the page asks for something else"


@pytest.mark.parametrize(
    ("carrier", "suites"),
    [
        ("websocket", ["limits", "resume", "pairs"]),
        ("HTTP session", ["carriers", "credit"]),
        ("SSE and POST", ["carriers", "resume"]),
        ("exchange", ["exchange", "keepalive"]),
    ],
)
def test_our_machine_behind_our_adapters(run_python: Run, carrier: str, suites: list[str]) -> None:
    known = Path(__file__).parents[2] / "spec" / "known_failing.txt"
    only = [part for suite in suites for part in ("--only", suite)]
    driver = f"{DRIVER} --carrier {shlex.quote(carrier)}"
    options = ["--known-failing", known, "--patience", str(PATIENCE)]
    done = run_python("-m", "telewire_spec", "run", "--command", driver, *only, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"conformance: \d+ pass$", done.stdout, re.MULTILINE)
    for role in ("client", "server"):
        assert re.search(rf"{suites[0]} +{role}, {carrier}", done.stdout)


def test_a_carrier_is_not_asked_for_what_it_does_not_carry(run_python: Run) -> None:
    """No bytes are a sign of life for the client of a session (TW-SES-106); an exchange is no session."""
    options = ["--only", "errors/batch/none/no-bytes", "--only", "exchange/client/calls"]
    driver = f"{DRIVER} --carrier 'HTTP session'"
    done = run_python("-m", "telewire_spec", "run", "--command", driver, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "conformance: 1 pass, 1 unsupported" in done.stdout


def test_a_failure_is_told_with_its_sentence_and_log(run_python: Run, tmp_path: Path) -> None:
    silent = (
        "while (m := read_message(sys.stdin.buffer)) is not None:\n"
        "    reply = {'sent': [], 'events': [], 'closed': False, 'roles': ['server']}\n"
        "    write_message(sys.stdout.buffer, reply)"
    )
    arguments = ["run", "--command", script(tmp_path, silent), "--only", "negotiation/server/speaks-first"]
    done = run_python("-m", "telewire_spec", *arguments)
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "FAIL negotiation/server/speaks-first [server, memory]" in said
    assert "TW-NEG-003: The server speaks first: it MUST emit its HELLO" in said
    known = tmp_path / "known.txt"
    known.write_text("negotiation/server  # says nothing yet\n", encoding="utf-8")
    assert run_python("-m", "telewire_spec", *arguments, "--known-failing", known).returncode == 0
    passing = ["run", "--command", DRIVER, "--only", "negotiation/server/speaks-first"]
    done = run_python("-m", "telewire_spec", *passing, "--known-failing", known)
    assert done.returncode == 1
    assert "is listed as failing, and passes" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["run"], 2, "Say what is to be tested"),
        (["run", "--command", "no-such-program-anywhere"], 2, "is no driver"),
        (["run", "--url", "ws://127.0.0.1:9/telewire"], 2, "Nothing can be tested there. ws://127.0.0.1:9/"),
        (["run", "--url", "127.0.0.1:9"], 2, "127.0.0.1:9 begins with ''; use ws, wss, http or https"),
        (["--help"], 0, "described in"),
        (["run", "--command", DRIVER, "--set", "golden"], 2, "There is no set 'golden'; there are core"),
        (["run", "--command", DRIVER, "--only", "nothing"], 2, "No case is left"),
        (["list", "calls/answer"], 0, "calls/answer/value: A call that arrives"),
    ],
)
def test_usage(run_python: Run, arguments: list[str], status: int, said: str) -> None:
    done = run_python("-m", "telewire_spec", *arguments)
    assert done.returncode == status
    assert said in " ".join((done.stdout + done.stderr).split())


def test_status_127_is_unsupported(run_python: Run, tmp_path: Path) -> None:
    done = run_python("-m", "telewire_spec", "run", "--command", script(tmp_path, "sys.exit(127)"))
    assert done.returncode == 127
    assert "supports nothing" in done.stderr


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ("sys.exit(127)", Unsupported, "127"),
        ("sys.exit(3)", SubjectFailed, "status 3"),
        (
            "read_message(sys.stdin.buffer); print('hello world, I am no driver', flush=True)",
            SubjectFailed,
            "status",
        ),
        (
            "read_message(sys.stdin.buffer); write_message(sys.stdout.buffer, {'unsupported': 'no'})",
            Unsupported,
            "no",
        ),
        (
            "read_message(sys.stdin.buffer); write_message(sys.stdout.buffer, {'sent': 5})",
            SubjectFailed,
            "reply",
        ),
        ("sys.stdin.buffer.read()", SubjectFailed, "did not answer start within"),
    ],
)
def test_a_driver_that_misbehaves(tmp_path: Path, body: str, error: type[Exception], said: str) -> None:
    # Only who says nothing at all is to be waited for in vain.
    patience = 0.5 if "did not answer" in said else PATIENCE
    subject = ProcessSubject(shlex.split(script(tmp_path, body)), patience=patience)
    try:
        with pytest.raises(error, match=said):
            subject.start(role="server")
    finally:
        subject.close()


def result(case: str, verdict: str) -> Result:
    """A result of a case that was never run."""
    return Result(Case(case, "calls", "driver", "", ()), "server", "memory", verdict)


def test_known_failures_and_surprises(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    path.write_text("# because\ncalls/a memory\ncalls/b*   # more\ncalls/x client\n", encoding="utf-8")
    patterns = known_failing(path)
    assert patterns == ["calls/a memory", "calls/b*", "calls/x client"]
    summary = summarise([result("calls/a", "fail"), result("calls/c", "pass")], patterns)
    assert summary.good
    assert [each.case.id for each in summary.known] == ["calls/a"]
    summary = summarise([result("calls/bee", "non-strict"), result("calls/x", "fail")], patterns)
    assert not summary.good
    assert [each.case.id for each in summary.surprising] == ["calls/bee"]
    assert [each.case.id for each in summary.unexpected] == ["calls/x"]
    assert summarise([result("calls/a", "unsupported")], patterns).good


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The conformance service in a process of its own; gives its address."""
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, service="telewire_spec.service:service") as process:
        yield process.url


@pytest.mark.parametrize("scheme", ["ws", "http", "session+http", "sse+http"])
def test_our_server_passes_from_the_wire(server: str, scheme: str) -> None:
    subject = UrlSubject(server.replace("http", scheme, 1), patience=PATIENCE)
    jobs = plan_of(CASES, subject)
    assert len(jobs) > 90
    results = [run_case(case, role, subject) for case, role, _ in jobs]
    subject.close()
    assert [f"{each.name}: {each.reason}" for each in results if each.verdict != "pass"] == []


def test_nobody_there_is_a_failure() -> None:
    [case] = [case for case in CASES if case.id == "service/echo"]
    done = run_case(case, "server", UrlSubject("ws://127.0.0.1:9/telewire", patience=1.0))
    assert done.verdict == "fail"
    assert "cannot be reached" in done.reason
    done = run_case(case, "server", UrlSubject("ftp://127.0.0.1:9/", patience=1.0))
    assert "use ws, wss, http or https" in done.reason


def test_the_document_names_every_step_command_event_and_verdict() -> None:
    text = (Path(__file__).parents[2] / "spec" / "conformance.md").read_text(encoding="utf-8")
    steps = {f"`{step}: " for step in STEPS} - {"`cut: ", "`attach: ", "`steps: "}
    commands = {name.removeprefix("_do_") for name in dir(Application) if name.startswith("_do_")}
    words = {f"`{name}`" for name in (*CASE_KEYS, *commands)}
    source = Path(telling.__file__).read_text(encoding="utf-8")
    words |= {f"`{name}`" for name in re.findall(r'(?:"event": |name = )"(\w+)"', source)}
    verdicts = {f"| {verdict} |" for verdict in (*PASSING, "unsupported", "fail")}
    assert {each for each in steps | words | verdicts if each not in text} == set()


def test_limits_and_codes_are_those_of_the_registries() -> None:
    assert limit_numbers() == numbers("limits.csv")
    assert numbers("errors.csv") == CODES
    assert numbers("frames.csv") == NAMES
    assert {name: getattr(Limits(), name) for name in DEFAULTS} == DEFAULTS


def test_kinds_that_a_driver_declines_are_unsupported(tmp_path: Path) -> None:
    text = (
        "while (m := read_message(sys.stdin.buffer)) is not None:\n"
        "    reply = {'declines': ['channel'], 'sent': [], 'events': [], 'closed': False}\n"
        "    write_message(sys.stdout.buffer, reply)"
    )
    subject = ProcessSubject(shlex.split(script(tmp_path, text)), patience=PATIENCE)
    try:
        subject.info()
        verdicts = {}
        for name in ("channels/kind/no-chunks", "functions/order/on-a-waiting-channel", "promises/nested"):
            [case] = [case for case in CASES if case.id == name]
            verdicts[name] = run_case(case, "server", subject).verdict
    finally:
        subject.close()
    assert list(verdicts.values()) == ["unsupported", "unsupported", "fail"]
