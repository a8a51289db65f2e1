"""``telewire call`` and ``telewire list`` against a server's process: what they print and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from telewire import NetworkError
from telewire.cli.arguments import parse_arguments, parse_headers
from telewire.cli.outcomes import sentence_of
from telewire.cli.results import label
from telewire.cli.saving import file_name
from telewire.cli.texts import harmless
from tests.cli import Serving, serving, start

Run = Callable[..., subprocess.CompletedProcess[str]]
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server for the tests that leave it as it was."""
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture
def call(server: Serving, run_python: Run, tmp_path: Path) -> Call:
    """Give a function that runs ``telewire call`` in an empty folder."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return run_python("-m", "telewire", "call", server.url, *arguments, cwd=tmp_path)

    return run


def test_items_are_lines(call: Call) -> None:
    done = call("on_countdown", "3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n2\n1\n0\n", "")


def test_arguments_arrive_as_they_are_meant(call: Call) -> None:
    done = call("chat.echo", "3", "-2.5", "text", '"4"', "[1, {}]", "b=c", "d='5'", "e=null")
    assert done.stderr == ""
    assert done.stdout == "[[3, -2.5, 'text', '4', [1, {}]], {'b': 'c', 'd': '5', 'e': None}]\n"


def test_json_is_json(call: Call) -> None:
    done = call("values", "--json")
    assert json.loads(done.stdout) == [
        None,
        1.5,
        None,
        "AA==",
        [1],
        "2026-01-02",
        "1.10",
        "127.0.0.1",
        {"1": "0:00:01"},
        [1, 2],
    ]


def test_a_header_is_one_of_the_request(call: Call) -> None:
    assert call("whoami", "-H", "X-User: ann").stdout == "'ann'\n"
    assert call("whoami").stdout == "'nobody'\n"


def test_a_refusal_is_status_1_with_its_value(call: Call) -> None:
    done = call("refuse")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Refused: {'missing': 3, 'text': '\\x1b[31mred'}\n"
    assert json.loads(call("refuse", "--json").stderr) == {"abort": {"missing": 3, "text": "\x1b[31mred"}}


def test_a_bug_is_status_1_and_tells_nothing(call: Call) -> None:
    done = call("fail")
    assert done.returncode == 1
    assert done.stderr.startswith("RemoteError: The function failed on the other side")
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nothing",), "FunctionNotFound: No function 'nothing' is served here"),
        (("on_countdown", "three"), "InvalidArgument: on_countdown(start): expected int, got str"),
        (("fail_late",), "Refused: 'enough'"),
    ],
)
def test_errors_are_status_1_and_a_sentence(call: Call, arguments: tuple[str, ...], sentence: str) -> None:
    done = call(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(sentence)


def test_items_before_a_failure_are_printed(call: Call) -> None:
    assert call("fail_late").stdout == "'first'\n"


def test_what_a_generator_returned_is_none_of_its_items(call: Call) -> None:
    done = call("squares")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "returned: {'count': 1}\n")


def test_what_comes_later_in_a_value_says_where_it_belongs(call: Call) -> None:
    done = call("dashboard")
    first, *later = done.stdout.splitlines()
    assert first == "{'title': 'Sales',"
    assert later[:3] == [" 'summary': <promise>,", " 'a report': <promise>,", " 'parts': <generator>,"]
    assert later[3] == " 'ask': <function>}"
    assert {"summary: 'all is well'", "parts: 'one'", "parts: {'later': <promise>}"} <= set(later)
    assert "parts[1].later: 'all is well'" in later
    # One part has failed, which the others survive and the status tells.
    assert done.stderr == "['a report']: Refused: 'for subscribers'\n"
    assert done.returncode == 1


def test_what_comes_later_is_json_with_its_place(call: Call) -> None:
    lines = [json.loads(line) for line in call("dashboard", "--json").stdout.splitlines()]
    assert lines[0] == {
        "title": "Sales",
        "summary": "<promise>",
        "a report": "<promise>",
        "parts": "<generator>",
        "ask": "<function>",
    }
    assert {"at": ["summary"], "value": "all is well"} in lines
    assert {"at": ["parts", 1, "later"], "value": "all is well"} in lines


def test_messages_of_a_channel_are_printed_until_it_closes(call: Call) -> None:
    done = call("chatter")
    assert (done.returncode, done.stdout) == (0, "'hello'\n'\\x07bell'\n")


def test_no_control_character_reaches_the_terminal(call: Call) -> None:
    for json_option in ((), ("--json",)):
        done = call("escape", *json_option)
        assert done.stdout.rstrip("\n").isprintable()
        assert "\\x1b]0;title" in done.stdout or "\\u001b]0;title" in done.stdout
    done = call("chat.\x1b[31mname")
    assert done.returncode == 1
    assert done.stderr.rstrip("\n").isprintable()


def test_a_deadline_is_status_4(call: Call) -> None:
    done = call("forever", "--timeout", "0.05")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("DeadlineExceeded: The call did not finish before its deadline")


def test_no_server_is_status_3(run_python: Run) -> None:
    done = run_python("-m", "telewire", "call", "http://127.0.0.1:1/telewire", "whoami")
    assert done.returncode == 3
    assert done.stderr.startswith("NetworkError: Could not connect to 127.0.0.1 port 1")


def test_a_server_that_vanishes_is_status_3(run_python: Run, tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        done = run_python("-m", "telewire", "call", running.url, "stop", "--patience", "0.5")
    assert done.returncode == 3
    notice, error = done.stderr.splitlines()
    assert notice == "The connection is lost; looking for the way back …"
    assert error.startswith("SessionLost: ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("echo", "--timout", "3"), "There is no option --timout; a text that begins with a dash"),
        (("echo", "-H", "Host: other"), "The header 'Host' belongs to the HTTP request itself"),
    ],
)
def test_wrong_usage_is_status_2_and_a_sentence(
    call: Call, arguments: tuple[str, ...], sentence: str
) -> None:
    done = call(*arguments)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--5"], "There is no option --5"),
        (["@missing.txt"], "The file missing.txt cannot be sent: No such file or directory."),
        (["a=@missing.txt"], "The file missing.txt cannot be sent: No such file or directory."),
        (["a=1", "2"], "The argument 2 stands behind a named one"),
        (["a=1", "a=2"], "The argument a is given twice."),
        (["-", "a=-"], "Standard input can be only one of the arguments"),
    ],
)
def test_words_that_are_no_arguments(words: list[str], sentence: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        parse_arguments(words)
    assert caught.value.message.startswith(sentence)


@pytest.mark.parametrize("line", ["secret", ": secret", ""])
def test_lines_that_are_no_headers(line: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        parse_headers([line])
    assert caught.value.message == "a header is written as 'Name: value'."


def test_headers_are_cut_at_the_first_colon() -> None:
    assert parse_headers(["A: b:c", "D:"]) == {"A": "b:c", "D": ""}


def test_a_url_that_cannot_be_used_is_status_2(run_python: Run) -> None:
    done = run_python("-m", "telewire", "call", "127.0.0.1:8000", "whoami")
    assert done.returncode == 2
    assert "did you mean 'http://127.0.0.1:8000'?" in done.stderr


def test_a_byte_stream_goes_to_standard_output_where_that_is_piped(call: Call) -> None:
    done = call("file", "100000", "photo.jpg")
    assert (done.returncode, done.stdout, done.stderr) == (0, "x" * 100000, "")


def test_a_byte_stream_goes_where_output_says(call: Call, tmp_path: Path) -> None:
    done = call("file", "5", "-o", "there.bin")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "Saved there.bin, 5 bytes.\n"
    assert (tmp_path / "there.bin").read_bytes() == b"xxxxx"
    # A name that was given may be written again; one that the other side chose may not.
    assert call("file", "6", "-o", "there.bin").returncode == 0
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    done = call("file", "7", "photo.jpg", "-o", ".")
    assert done.returncode == 2
    assert "photo.jpg is there already" in done.stderr
    assert (tmp_path / "photo.jpg").read_bytes() == b"mine"
    assert call("file", "8", "../../other.jpg", "-o", tmp_path).returncode == 0
    assert (tmp_path / "other.jpg").stat().st_size == 8


def test_a_byte_stream_into_a_device_leaves_it_a_device(call: Call, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        done = call("file", "100000", "-o", pipe)
        assert (done.returncode, done.stderr) == (0, "")
        assert reader.communicate(timeout=60)[0] == b"x" * 100000
    assert pipe.is_fifo()


def test_a_byte_stream_follows_a_link(call: Call, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    assert call("file", "3", "-o", "link").stderr == "Saved link, 3 bytes.\n"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"xxx"


def test_byte_streams_inside_of_a_value_are_files(call: Call, tmp_path: Path) -> None:
    done = call("files")
    assert done.stdout == "[<byte stream>, <byte stream>]\n"
    contents = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert sorted(contents) == ["same-2.txt", "same.txt"]
    assert sorted(contents.values()) == ["first", "second"]


def test_nothing_is_left_of_a_byte_stream_that_broke(call: Call, tmp_path: Path) -> None:
    done = call("broken_file", "-o", "part.bin")
    assert (done.returncode, done.stderr) == (1, "Refused: 'the disk is gone'\n")
    assert list(tmp_path.iterdir()) == []


def test_a_progress_bar_stands_on_standard_error_of_a_terminal(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = call("file", "100000", "photo.jpg")
    assert done.stdout == "x" * 100000
    assert "photo.jpg" in done.stderr
    assert "100.0/100.0 kB" in done.stderr


def test_files_and_standard_input_are_sent_as_bytes(server: Serving, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("from a file")
    with start(["call", server.url, "upload", "@note.txt", "more=-"], cwd=tmp_path) as process:
        out, err = process.communicate("from a pipe", timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out == "['note.txt', 'from a file', 'from a pipe']\n"


def test_ctrl_c_is_status_130_and_cancels_on_the_server(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        with start(["call", running.url, "forever", "it"]) as process:
            assert running.line() == "it began"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, "", "")
        assert running.line().startswith("it is over: CallCancelled(")


def test_ctrl_c_while_standard_input_is_read_ends_too(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        with start(["call", running.url, "swallow", "-"]) as process:
            assert process.stdin is not None
            process.stdin.write("the beginning")
            process.stdin.flush()
            # What is there is sent at once, though more may come.
            assert running.line() == "the beginning"
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            assert process.stderr is not None
            assert process.stderr.read() == ""
        assert running.line() == "swallowing is over"


def test_who_reads_no_more_ends_the_call(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        with start(["call", running.url, "ticks"]) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "0\n"
            process.stdout.close()
            assert process.wait(60) == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""
        assert running.line() == "ticks are over: None"


def test_ctrl_c_cancels_a_stream_too(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        with start(["call", running.url, "ticks"]) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "0\n"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
            assert (process.returncode, err) == (130, "")
        assert running.line().startswith("ticks are over: CallCancelled(")


def test_a_reader_that_takes_nothing_does_not_stop_the_conversation(tmp_path: Path) -> None:
    with serving(tmp_path) as running, start(["call", running.url, "pages"]) as process:
        assert running.line() == "the pipe is full"
        process.send_signal(signal.SIGINT)
        # Nothing has been read of the pipe, and yet the server hears of it.
        assert running.line().startswith("pages are over: CallCancelled(")
        process.communicate(timeout=60)
        assert process.returncode == 130


@pytest.mark.parametrize("transport", ["http", "sse"])
def test_over_http(call: Call, transport: str) -> None:
    over = ("--transport", transport)
    assert call("on_countdown", "2", *over).stdout == "2\n1\n0\n"
    assert call("file", "100000", *over).stdout == "x" * 100000


def test_in_an_exchange(call: Call, server: Serving, run_python: Run, tmp_path: Path) -> None:
    over = ("--transport", "exchange")
    assert call("on_countdown", "2", *over).stdout == "2\n1\n0\n"
    assert call("file", "100000", *over).stdout == "x" * 100000
    assert call("refuse", *over).returncode == 1
    # A channel in the answer: the exchange goes on as a session.
    assert call("chatter", *over).stdout == call("chatter").stdout != ""
    both = tmp_path / "both"
    both.write_bytes(b"x")
    done = call("whoami", f"@{both}", f"@{both}", *over)
    assert done.returncode == 3
    assert done.stderr.startswith("TransportUnsuitable: ")
    assert "Use: websocket." in done.stderr
    assert "whoami() -> str\n" in run_python("-m", "telewire", "list", server.url, *over).stdout


def test_ctrl_c_cancels_a_request_of_plain_http(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        with start(["call", running.url, "forever", "it", "--transport", "exchange"]) as process:
            assert running.line() == "it began"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, "", "")
        assert running.line().startswith("it is over: ")


def test_list_tells_signatures_and_first_lines(server: Serving, run_python: Run) -> None:
    done = run_python("-m", "telewire", "list", server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "on_countdown(start: int) -> AsyncIterator[int]\n    Count down to zero.\n" in done.stdout
    assert done.stdout.startswith("broken_file() -> ByteStream\nchat.echo(*args, **kwargs)\n")
    described = json.loads(run_python("-m", "telewire", "list", server.url, "--json").stdout)
    assert {"name": "whoami", "signature": "() -> str", "summary": ""} in described


def test_list_of_a_server_that_does_not_tell(run_python: Run, tmp_path: Path) -> None:
    with serving(tmp_path, service="served:silent") as running:
        done = run_python("-m", "telewire", "list", running.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not tell which functions it has" in done.stderr


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("-.5", -0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("True", True),
        ("null", None),
        ("None", None),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("'3'", "3"),
        ('"a=b"', "a=b"),
        ("a b", "a b"),
        ("(1, 2)", (1, 2)),
        ("{1, 2}", {1, 2}),
        ("b'x'", b"x"),
        ("[1, 2", "[1, 2"),
        ("os.system('ls')", "os.system('ls')"),
        ("{[]}", "{[]}"),
        ("", ""),
        ("[" * 10_000, "[" * 10_000),
        ("9" * 5000, "9" * 5000),
        ("1=2", "1=2"),
    ],
)
def test_words_as_values(word: str, value: object) -> None:
    assert parse_arguments([word]) == ([value], {})


def test_the_first_equals_sign_ends_the_name() -> None:
    assert parse_arguments(["a=b=c", "d="]) == ([], {"a": "b=c", "d": ""})


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("..\\evil.exe", "evil.exe"),
        ("C:\\x\\y.txt", "y.txt"),
        (".bashrc", "bashrc"),
        ("..", "download"),
        ("dir/", "dir"),
        ("a\x1b[31m\nb:c", "a[31mbc"),
        ("", "download"),
        (None, "download"),
    ],
)
def test_names_of_the_other_side_stay_in_their_folder(given: str | None, safe: str) -> None:
    assert file_name(given) == safe
    assert os.path.basename(safe) == safe


def test_text_of_the_other_side_is_one_harmless_line() -> None:
    assert harmless("a\x1b[31m\r\n\u202e \u00e9\x9b") == "a\\x1b[31m\\r\\n\\u202e \u00e9\\x9b"
    assert sentence_of(NetworkError("went\x07away")) == "NetworkError: went\\x07away"


def test_places_are_written_as_people_write_them() -> None:
    assert label(("a", 0, "b c", "d")) == "a[0]['b c'].d"
    assert label((1,)) == "[1]"
