"""Garbage: what a connection sends that means nothing, or nearly something; the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from telewire.wire import frames as f
from tests.core.dialogue import K, batch, hello
from tests.security.serving import KEY, POST, UPGRADE

__all__ = ["garbage", "message"]

KINDS = [(K.PROMISE, None), (K.ITEMS, None), (K.BYTES, None), (K.FUNCTION, 1), (K.CHANNEL, 2)]


def message(data: bytes) -> bytes:
    """One binary WebSocket message of a client's."""
    size = len(data)
    if size < 126:
        head = bytes((0x82, 0x80 | size))
    elif size < 1 << 16:
        head = b"\x82\xfe" + size.to_bytes(2, "big")
    else:
        head = b"\x82\xff" + size.to_bytes(8, "big")
    whole = (size + 3) // 4 * 4
    masked = int.from_bytes(data.ljust(whole, b"\0"), "big") ^ int.from_bytes(KEY * (whole // 4), "big")
    return head + KEY + masked.to_bytes(whole, "big")[:size]


def frame(choose: random.Random, number: int) -> f.Frame:
    """A frame that could stand somewhere; ``number`` is what the next call may have."""
    reference = choose.randrange(-6, 6)
    payload = choose.choice([b"", b"\x80", b"\x82\x82\x01\x02\xa0", choose.randbytes(choose.randrange(300))])
    more = choose.random() < 0.2 and bool(payload)
    size = len(payload) + (choose.choice([1, 1000, 1 << 30, 1 << 52]) if more else 0)
    kind, function = choose.choice(KINDS)
    declared = (f.Declaration(number + 1, kind, function),) if choose.random() < 0.2 and not more else ()
    return choose.choice(
        [
            f.Call(number, "add", int(more), size, payload, declared),
            f.Call(number, reference, int(more), size, payload, declared),
            f.End(reference, int(more), size, payload),
            f.Error(reference, choose.randrange(50), int(more), size, payload),
            f.Item(reference, int(more), size, payload),
            f.Items(reference, 0, 1 + choose.randrange(3), payload or b"\x80"),
            f.Chunk(reference, 0, payload or b"x"),
            f.Fragment(reference, int(more), payload or b"x"),
            f.Stop(reference, choose.randrange(40), payload[:100]),
            f.Reset(reference, choose.randrange(40), payload[:100]),
            f.Grant(reference, choose.randrange(1 << 40)),
            f.Ping(choose.randrange(100)),
            f.GoAway(choose.randrange(100), 11, "bye"),
            f.Unknown(choose.choice([8, 9, 64, 65])),
        ]
    )


def batches(choose: random.Random) -> Iterator[bytes]:
    """Batches of frames, most of which are valid; sooner or later one of them is damaged."""
    number = 0
    for _ in range(choose.randrange(1, 12)):
        frames = [frame(choose, number)]
        if isinstance(frames[0], f.Call):
            number += 1 + len(frames[0].declarations)
        data = bytearray(batch(*frames))
        if choose.random() < 0.2:
            data[choose.randrange(len(data))] = choose.randrange(256)
        yield bytes(data)


def garbage(choose: random.Random, port: int) -> Iterator[bytes]:
    """What one connection sends, piece by piece."""
    upgrade = UPGRADE.format(port=port, more="").encode()
    post = POST.format(port=port, more="").encode()
    noise = choose.randbytes(choose.randrange(1, 3000))
    match choose.randrange(7):
        case 0:
            yield noise
        case 1:
            yield b"GET /" + noise
        case 2:
            yield upgrade
            yield noise
        case 3:
            yield upgrade
            yield message(batch(hello()))
            for each in batches(choose):
                yield message(each)
        case 4:
            yield upgrade + message(batch(hello())) + message(noise)
        case 5:
            body = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in batches(choose))
            yield post
            yield body
            yield noise
        case _:
            cut = upgrade if choose.random() < 0.5 else post
            yield cut[: choose.randrange(1, len(cut))]
