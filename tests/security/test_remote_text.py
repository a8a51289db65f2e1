"""Text of the other side in errors, logs and reprs: escaped and cut (D14), and no more of it than is due."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator

import pytest

from telewire import (
    Abort,
    ByteStream,
    CallCancelled,
    Connection,
    FunctionNotFound,
    InvalidArgument,
    Limits,
    NetworkError,
    RemoteError,
    Service,
    TelewireError,
)
from telewire.core.events import ConnectionClosed, HelloReceived
from telewire.errors import ErrorCode
from telewire.runtime.transport import Request
from telewire.wire import frames as f
from telewire.wire.frames import Declaration, Kind
from telewire.wire.values import Reference, encode_value
from telewire_transports import connect
from tests.core.dialogue import batch, frames_of, hello
from tests.runtime.world import Bugs, Connected, caught, until
from tests.security.hostile import NASTY, fragments, harmless, hostile_client, hostile_server

C = ErrorCode

nasty = pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)


def errors_of(code: ErrorCode, payload: bytes) -> Callable[[f.Frame], list[f.Frame]]:
    """A server that answers every call with an error."""

    def answer(frame: f.Frame) -> list[f.Frame]:
        if not isinstance(frame, f.Call):
            return []
        reference = -1 - frame.stream
        return fragments(reference, lambda *rest: f.Error(reference, code, *rest), payload)

    return answer


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that a traceback would show with it; no error is behind itself."""
    seen: list[BaseException] = []
    while error is not None:
        assert error not in seen
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


CODES = [
    C.ABORTED,
    C.INTERNAL,
    C.INVALID_ARGUMENT,
    C.FUNCTION_NOT_FOUND,
    C.CANCELLED,
    C.RESOURCE_EXHAUSTED,
    C.GOING_AWAY,
    C.TRANSPORT_UNSUITABLE,
    C.MALFORMED_VALUE,
    C.MESSAGE_TOO_LARGE,
]


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name.lower())
async def test_the_text_of_an_error(guarded: None, code: ErrorCode) -> None:
    for value in [*NASTY.values(), *({text: [text]} for text in NASTY.values())]:
        async with hostile_server(errors_of(code, encode_value(value))) as (client, _), client as remote:
            error = await caught(remote.f())
        assert isinstance(error, TelewireError)
        for each in causes(error):
            assert harmless(str(each))
            assert harmless(repr(each))
        # What was given on purpose is whole where it is asked for.
        if isinstance(error, Abort):
            assert error.value == value
        elif isinstance(error, RemoteError):
            assert harmless(error.correlation_id)
        elif isinstance(error, CallCancelled):
            assert error.reason == value


@nasty
@pytest.mark.parametrize(
    "code", [C.ABORTED, C.INTERNAL, C.INVALID_ARGUMENT], ids=lambda code: code.name.lower()
)
async def test_the_log_of_a_call_that_nobody_awaited(
    guarded: None, bugs: Bugs, text: str, code: ErrorCode
) -> None:
    async with hostile_server(errors_of(code, encode_value(text))) as (client, _), client as remote:
        remote.f()
        await until(lambda: bool(bugs.records))
    assert len(bugs.records) == 1
    assert harmless(bugs.messages[0])
    assert harmless(logging.Formatter().format(bugs.records[0]))


CLOSES = [0, 1, 2, 5, 11, 16, 31, 32, 33, 45, 46, 99, (1 << 53) - 1]


@pytest.mark.parametrize("code", CLOSES)
async def test_the_text_of_a_close(guarded: None, code: int) -> None:
    for text in NASTY.values():
        said = text[:2000]
        answers = {f.Call: [f.GoAway(7, C.GOING_AWAY, said), f.Close(code, said)]}
        hostile = hostile_server(lambda frame, answers=answers: answers.get(type(frame), []))  # type: ignore[misc]
        async with hostile as (client, _), client as remote:
            error = await caught(remote.f())
            assert isinstance(error, NetworkError), repr(error)
            # The next call waits for a successor, which says the same.
            later = await caught(remote.f())
            assert isinstance(later, NetworkError), repr(later)
            for each in (*causes(error), *causes(later)):
                assert harmless(str(each))


@nasty
async def test_the_name_of_a_function(guarded: None, log: Bugs, text: str) -> None:
    service = Service()
    service.add(lambda: None, "f")
    name = text[:300]
    async with hostile_client(service, lambda frame: []) as client:
        client.say(f.Call(0, name, 0, 0, b""))
        await until(lambda: any(isinstance(frame, f.Error) for frame in client.heard))
    assert log.records == []
    async with hostile_client(service, lambda frame: []) as client:
        client.say(f.Call(0, "f", 0, 6, b"\x82\x80\xa1\x61x\x00"))
        await until(lambda: any(isinstance(frame, f.Error) for frame in client.heard))
    assert log.records == []


async def test_an_error_lists_no_names(connected: Connected) -> None:
    """Names are told where introspection is allowed, and nowhere else."""
    service = Service()
    for name in ("secret_one", "admin.delete", "secret"):
        service.add(lambda: None, name)
    async with connected(service) as world:
        for name in ("secret_on", "admin", "admin.delet", "", "telewire.list", "__class__", "x" * 500):
            error = await caught(world.remote[name]())
            assert isinstance(error, FunctionNotFound)
            told = str(error).replace(repr(name), "")
            assert not [known for known in ("secret_one", "admin.delete", "delete") if known in told]
            assert harmless(str(error))


@nasty
async def test_the_name_of_a_byte_stream(guarded: None, text: str) -> None:
    payload = encode_value(Reference(0, {"name": text, "content_type": text}))

    def answer(frame: f.Frame) -> list[f.Frame]:
        if not isinstance(frame, f.Call):
            return []
        frames = fragments(-1 - frame.stream, lambda *rest: f.End(-1 - frame.stream, *rest), payload)
        last = frames[-1]
        assert isinstance(last, f.End | f.Fragment)
        last.declarations = (Declaration(0, Kind.BYTES),)
        return frames

    async with hostile_server(answer) as (client, _), client as remote:
        stream = await remote.f()
        assert isinstance(stream, ByteStream)
        assert stream.name == text
        assert harmless(repr(stream))
        await stream.aclose()


@nasty
async def test_the_place_in_a_value_that_does_not_fit(guarded: None, text: str) -> None:
    async def numbers() -> dict[str, int]:
        raise AssertionError

    service: Service[None] = Service()
    service.add(numbers, "numbers")
    payload = encode_value({text: text})

    def answer(frame: f.Frame) -> list[f.Frame]:
        if not isinstance(frame, f.Call):
            return []
        return fragments(-1 - frame.stream, lambda *rest: f.End(-1 - frame.stream, *rest), payload)

    async with hostile_server(answer) as (client, _), client as remote:
        error = await caught(remote[numbers]())
        assert isinstance(error, InvalidArgument)
        assert harmless(str(error))


# --- garbage -------------------------------------------------------------------------------------


def damaged(text: str) -> list[bytes]:
    """Batches that are refused, with text at every place where a message could repeat it."""
    head = encode_value(text[:1000])
    return [
        head,
        b"\x81" + head,
        b"\x81\x81" + head,
        b"\x81\x82\x04" + head,
        b"\x81\x83\x04\x00" + head,
        b"\x81\x83\x04\x00\xa1" + head + b"\x00",
        b"\x81\x83\x04\x00\xa2\x0e\xa2" + head + b"\x00" + head + b"\x00",
        b"\x81\x86\x10\x00" + head + b"\x00\x00" + head,
        b"\x81\x86\x10\x00\x61f\x00" + head + b"\x40",
        b"\x81\x84\x17\x00\x00" + head,
        b"\x81\x83\x04\x00\xa1\x0e\xc0" + head,
        b"\x81\x83\x04\x00\xa1\x06\xa1" + head + b"\x01",
        head[:-1] + b"\xff",
        b"\x81" + head + b"\x00",
    ]


@nasty
def test_what_is_said_of_garbage(text: str) -> None:
    for data in damaged(text):
        for side in ("client", "server"):
            connection = Connection(side)  # type: ignore[arg-type]  # both are
            connection.receive_data(batch(hello(**_identity(side))), 0.0)
            connection.events_received()
            connection.data_to_send()
            connection.receive_data(data, 0.0)
            [close] = frames_of(connection.data_to_send())
            [closed] = connection.events_received()
            assert isinstance(closed, ConnectionClosed)
            assert closed.error is not None
            for each in causes(closed.error):
                if isinstance(each, TelewireError):
                    assert harmless(str(each))
            assert isinstance(close, f.Close)
            assert close.text == closed.text
            assert harmless(closed.text)


def _identity(side: str) -> dict[str, bytes]:
    return {"session": b"s" * 16, "token": b"t" * 16} if side == "client" else {}


# --- what nobody may see -------------------------------------------------------------------------


def test_session_and_token_are_in_no_repr() -> None:
    session, token = b"the-session-name", b"the-secret-token"
    server = Connection("server", session_id=session, token=token)
    client = Connection("client")
    client.receive_data(b"".join(server.data_to_send()), 0.0)
    [opened] = client.events_received()
    assert isinstance(opened, HelloReceived)
    assert opened.session == session
    shown = [repr(each) for each in (server, client, opened)]
    shown.append(repr(f.Hello(1, 1, (), {}, session, token)))
    shown.append(repr(f.Resume(session, token, 1, 0)))
    for text in shown:
        assert "the-session-name" not in text
        assert "the-secret-token" not in text


async def test_reprs_of_a_conversation_tell_no_identity(connected: Connected) -> None:
    service = Service()
    kept: list[Request] = []

    @service.function
    async def look() -> None:
        from telewire import get_context

        kept.extend([get_context().request])

    async with connected(service, headers={"Authorization": "Bearer very-secret"}) as world:
        call = world.remote.look()
        await call
        identities = [
            bytes(each)
            for driver in world.drivers
            for each in (driver.connection._hello,)
            if driver.connection.side == "server"
        ]
        things = [world.client, world.remote, call, kept[0], *world.drivers, *world.connections]
        things += [driver.transport.request for driver in world.drivers]
        shown = " ".join(repr(thing) for thing in things)
    assert identities
    assert "very-secret" not in shown
    for identity in identities:
        # The hello ends with both, 16 and 32 random bytes.
        for part in (identity[-32:], identity[-50:-34]):
            assert repr(part)[2:-1] not in shown
            assert part.hex() not in shown


def test_limits_are_no_secret() -> None:
    assert "open_calls=1000" in repr(Limits())


@pytest.mark.parametrize("value", ["very-secret\n", "very-secret€", "very-secret\x00"])
@pytest.mark.parametrize("transport", ["websocket", "http"])
async def test_the_value_of_a_header_is_in_no_error(value: str, transport: str) -> None:
    with pytest.raises(ValueError, match="'X-Key'") as caught:
        async with connect("http://127.0.0.1:9/telewire", headers={"X-Key": value}, transport=transport):  # type: ignore[arg-type]
            raise AssertionError
    assert "very-secret" not in "".join(traceback.format_exception(caught.value))
