"""``telewire serve``: what it prints, how it ends, and what it says of mistakes."""

from __future__ import annotations

import gc
import json
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from telewire import Service
from telewire.cli.serve import load_service
from tests.cli import SERVED, serving, start

Run = Callable[..., subprocess.CompletedProcess[str]]
CERTIFICATE = Path(__file__).parent / "transports" / "certificate" / "localhost.pem"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_conversations_in_order(tmp_path: Path, number: int) -> None:
    with serving(tmp_path, "--drain-seconds", "0") as running:
        assert running.first == f"Serving served:service at {running.url} (Ctrl-C stops)"
        with start(["call", running.url, "forever", "it"]) as caller:
            assert running.line() == "it began"
            status, out, err = running.interrupt(number)
            assert (status, err) == (0, "")
            assert out.startswith("it is over: GoingAway(")
            _, said = caller.communicate(timeout=60)
            assert caller.returncode == 3
            assert "going away" in said


STUBBORN = """
import anyio
from telewire import Service

service = Service()


@service.function
async def stubborn() -> None:
    print("began", flush=True)
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            print("cleaning up", flush=True)
            await anyio.sleep_forever()
"""


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, source=STUBBORN) as running, start(["call", running.url, "stubborn"]) as caller:
        assert running.line() == "began"
        running.process.send_signal(signal.SIGINT)
        assert running.line() == "cleaning up"
        status, _, err = running.interrupt()
        assert (status, err) == (130, "")
        assert caller.wait(60) == 3


def test_while_it_drains_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    options = ("--drain-seconds", "60")
    with serving(tmp_path, *options) as running, start(["call", running.url, "forever", "it"]) as caller:
        assert running.line() == "it began"
        running.process.send_signal(signal.SIGTERM)
        # Another number: two of one that come together are one.
        status, out, err = running.interrupt(signal.SIGINT)
        assert (status, out, err) == (130, "", "")
        # It would wait for the server to come back.
        caller.terminate()


COLLECTED = """
import gc
from telewire import Service

service = Service()
{own}

@service.function
async def collector() -> list[int]:
    return [int(gc.get_freeze_count() > 1_000), *gc.get_threshold()]
"""


@pytest.mark.parametrize("own", ["", "gc.set_threshold(800, 7, 6)", "gc.disable()"])
def test_the_collector_is_spared_unless_the_module_has_its_own_ideas(tmp_path: Path, own: str) -> None:
    usual = gc.get_threshold()
    expected = {
        "": [1, *usual[:2], 100],
        "gc.set_threshold(800, 7, 6)": [0, 800, 7, 6],
        "gc.disable()": [0, *usual],
    }[own]
    with serving(tmp_path, source=COLLECTED.format(own=own)) as running:
        with start(["call", running.url, "collector"]) as caller:
            said, _ = caller.communicate(timeout=60)
        assert json.loads(said) == expected
        running.interrupt()


def test_over_tls(tmp_path: Path, run_python: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    options = ("--ssl-certfile", str(CERTIFICATE), "--host", "localhost", "--path", "/deep/down")
    with serving(tmp_path, *options) as running:
        assert running.url.startswith("https://localhost:")
        assert running.url.endswith("/deep/down")
        assert run_python("-m", "telewire", "call", running.url, "whoami").stdout == "'nobody'\n"


def test_a_port_in_use_is_a_sentence(tmp_path: Path, run_python: Run) -> None:
    (tmp_path / "served.py").write_text(SERVED, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_python("-m", "telewire", "serve", "served:service", "--port", str(port), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: 127.0.0.1 port {port} cannot be served: ")
    assert "Traceback" not in done.stderr


def test_a_bug_is_logged_with_its_traceback(tmp_path: Path, run_python: Run) -> None:
    with serving(tmp_path) as running:
        done = run_python("-m", "telewire", "call", running.url, "fail")
        _, _, err = running.interrupt()
    assert "ValueError: a secret" in err
    # The id that the caller was given finds it.
    assert done.stderr.split("correlation id ")[1].rstrip(".\n") in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("served:nothing",),
            "'nothing' in the module 'served' does not exist; its services are: service, silent.",
        ),
        (("served:service", "--path", "x"), "path='x' does not begin with a slash; write '/x'."),
        (
            ("served:service", "--trusted-proxy", "nobody"),
            "trusted_proxies has 'nobody', which is no address",
        ),
        (("served:service", "--ssl-keyfile", str(CERTIFICATE)), "--ssl-keyfile needs --ssl-certfile."),
        (("served:service", "--ssl-certfile", "served.py"), "The certificate served.py cannot be used: "),
    ],
)
def test_wrong_usage_is_status_2_and_a_sentence(
    tmp_path: Path, run_python: Run, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "served.py").write_text(SERVED, encoding="utf-8")
    done = run_python("-m", "telewire", "serve", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_installed_command_finds_modules_of_the_folder(tmp_path: Path, run_python: Run) -> None:
    """``telewire`` is a script: its folder, not the current one, is where Python looks first."""
    (tmp_path / "served.py").write_text(SERVED, encoding="utf-8")
    script = tmp_path / "bin" / "telewire"
    script.parent.mkdir()
    script.write_text("from telewire.__main__ import main\nmain()\n", encoding="utf-8")
    done = run_python(script, "serve", "served:nothing", cwd=tmp_path)
    assert "its services are: service, silent" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("telewire_no_such:service", "There is no module 'telewire_no_such' here or among what is installed"),
        ("json.no_such:service", "There is no module 'json.no_such' here"),
        ("chat.py", "'chat.py' names no service; write module:name, say chat:service."),
        ("chat:", "'chat:' names no service"),
        (":service", "':service' names no service"),
        ("json:dumps", "'dumps' in the module 'json' is of type function; it has no Service at all."),
        ("json:no.such", "'no.such' in the module 'json' does not exist"),
    ],
)
def test_what_names_no_service(target: str, sentence: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        load_service(target)
    assert caught.value.message.startswith(sentence)


def test_a_module_that_misses_another_shows_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "misses_another.py").write_text("import telewire_no_such\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="telewire_no_such"):
        load_service("misses_another:service")


def test_a_service_inside_of_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from telewire import Service\nclass App:\n    service = Service()\n"
    (tmp_path / "has_an_app.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(load_service("has_an_app:App.service"), Service)
