"""I6: a secret on one side is in no byte that this side emits, and in no error on the other side."""

from __future__ import annotations

import base64
import itertools
import secrets
import string
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.runtime.world import Bugs, Connected, World, quiescent
from tests.security.leaks import FAILURES, Holder, Looker

# Unusual characters around what can be found again however it was escaped.
SECRETS = st.builds(
    lambda core, before, after: before + core + after,
    st.text(string.ascii_letters + string.digits, min_size=16, max_size=40),
    st.text("äß€😀\u202e'\"\\\n\x1b[31m{}%", max_size=4),
    st.text("äß€😀'\"\\\n\x1b{}%", max_size=4),
)


def core_of(secret: str) -> str:
    """The part of a secret that every escaping leaves as it is."""
    return max(
        "".join(each if each.isascii() and each.isalnum() else " " for each in secret).split(), key=len
    )


def traces_of(secret: str) -> list[bytes]:
    """What would betray it: itself, or its core in one of the forms that text is put into."""
    core = core_of(secret)
    forms = [secret.encode(), core.encode(), core.encode("utf-16-le"), core.encode().hex().encode()]
    return [*forms, core[::-1].encode(), base64.b64encode(core.encode())[:12]]


def texts_of(error: BaseException | None, depth: int = 0) -> Iterator[str]:
    """All that an error tells, with what it came from."""
    if error is None or depth > 5:
        return
    yield from (
        str(error),
        repr(error),
        repr(error.args),
        repr(vars(error)),
        *getattr(error, "__notes__", ()),
    )
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from texts_of(each, depth + 1)
    yield from texts_of(error.__cause__, depth + 1)
    yield from texts_of(error.__context__, depth + 1)


def emitted_by(world: World, side: str) -> bytes:
    """Every byte that one side has emitted."""
    pairs = zip(world.drivers, world.recorders, strict=True)
    sent = [batch for driver, recorder in pairs if driver.connection.side == side for batch in recorder.sent]
    return b"".join(sent)


async def play(connected: Connected, side: str, secret: str, failures: Sequence[str]) -> None:
    """Let one side fail everywhere, and look at all that the other side can see."""
    holder, looker = Holder(secret, itertools.cycle(failures)), Looker()
    server, client = (holder, looker) if side == "server" else (looker, holder)
    # What the client says in a header is a secret that the server holds as well.
    headers = {"Authorization": core_of(secret)} if side == "server" else None
    async with connected(server.service, client_service=client.service, headers=headers) as world:
        if side == "server":
            await looker.visit(world.remote)
        else:
            await world.remote.look()
        await quiescent(world.remote)
        await world.settled()
        emitted = emitted_by(world, side)
    assert len(looker.errors) >= 30
    for form in traces_of(secret):
        assert form not in emitted
    told = "\n".join(text for error in looker.errors for text in texts_of(error))
    assert core_of(secret) not in told


NAMES = sorted(FAILURES)


@pytest.mark.parametrize("side", ["server", "client"])
@pytest.mark.parametrize("first", range(0, len(NAMES), 13))
async def test_i6_at_every_place(connected: Connected, bugs: Bugs, side: str, first: int) -> None:
    secret = secrets.token_hex(16)
    await play(connected, side, secret, NAMES[first:] + NAMES[:first])
    # It has been somewhere: this side's own log tells it.
    logged = [error for error in bugs.errors if error]
    assert len(logged) >= len(NAMES)
    assert sum(secret in "".join(texts_of(error)) for error in logged) >= len(NAMES)


@settings(
    max_examples=3,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    # Shrinking takes minutes and says little more than the first failure does.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(secret=SECRETS, failures=st.permutations(NAMES), side=st.sampled_from(["server", "client"]))
async def test_i6_of_any_secret(
    connected: Connected, bugs: Bugs, secret: str, failures: list[str], side: str
) -> None:
    await play(connected, side, secret, failures)
