"""Layers by themselves: values, and the state machine, in one process without loop, tasks or sockets.

Each function does a number of calls or items, checks what arrives, and returns the seconds of CPU it
took. What bare cbor2 needs for the same values is the floor that the others are held against.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import cbor2

from benchmarks.workloads import TEXT, WrongValue, row
from telewire.core.events import CallReceived, CallResolved, Event, ItemsReceived
from telewire.core.streams import Stream
from telewire.testing.pair import Pair
from telewire.wire.frames import Kind
from telewire.wire.values import Reference, decode_items, decode_value, encode_value

__all__ = [
    "cbor2_items",
    "cbor2_own_items",
    "cbor2_unary",
    "connections_items",
    "connections_own_items",
    "connections_unary",
    "values_items",
    "values_unary",
]

IN_FLIGHT: Final = 64
BATCH: Final = 256
ARRAY_HEAD: Final = b"\x99" + BATCH.to_bytes(2, "big")
NUMBER: Final = 1000
"""Stands in payloads made beforehand; two bytes long, as most numbers of a run are."""


def _arguments(number: int) -> list[object]:
    return [(number, TEXT), {}]


def _result(number: int) -> dict[str, object]:
    return {"a": number, "b": TEXT}


def _check(found: object, expected: object) -> None:
    if found != expected:
        raise WrongValue(f"{found!r} arrived instead of {expected!r}.")


# --- the floor: cbor2 alone ----------------------------------------------------------------------


def cbor2_unary(count: int) -> float:
    """Arguments and result of each call, encoded and decoded."""
    began = time.process_time()
    for number in range(count):
        cbor2.loads(cbor2.dumps(_arguments(number)))
        result = cbor2.loads(cbor2.dumps(_result(number)))
    seconds = time.process_time() - began
    _check(result, _result(count - 1))
    return seconds


def cbor2_items(count: int) -> float:
    """Items encoded one by one, as a generator makes them, and decoded by the batch."""
    batches = -(-count // BATCH)
    began = time.process_time()
    for _ in range(batches):
        items = cbor2.loads(ARRAY_HEAD + b"".join([cbor2.dumps(row(number)) for number in range(BATCH)]))
    seconds = time.process_time() - began
    _check((len(items), items[-1]), (BATCH, row(BATCH - 1)))
    return seconds * count / (batches * BATCH)


def cbor2_own_items(count: int) -> float:
    """Items encoded and decoded one by one."""
    began = time.process_time()
    for number in range(count):
        item = cbor2.loads(cbor2.dumps(row(number)))
    seconds = time.process_time() - began
    _check(item, row(count - 1))
    return seconds


# --- values --------------------------------------------------------------------------------------


def values_unary(count: int) -> float:
    """As :func:`cbor2_unary`, in telewire's values, strictly."""
    began = time.process_time()
    for number in range(count):
        decode_value(encode_value(_arguments(number)))
        result = decode_value(encode_value(_result(number)))
    seconds = time.process_time() - began
    _check(result, _result(count - 1))
    return seconds


def values_items(count: int) -> float:
    """As :func:`cbor2_items`, in telewire's values, strictly."""
    batches = -(-count // BATCH)
    began = time.process_time()
    for _ in range(batches):
        encoded = [encode_value(row(number)) for number in range(BATCH)]
        items = decode_items(ARRAY_HEAD + b"".join(encoded), BATCH)
    seconds = time.process_time() - began
    _check((len(items), items[-1]), (BATCH, row(BATCH - 1)))
    return seconds * count / (batches * BATCH)


# --- two connections -----------------------------------------------------------------------------


def connections_unary(count: int, *, values: bool) -> float:
    """Calls through two connections, 64 in flight; without ``values`` the payloads are ready-made."""
    pair = Pair()
    arguments, result = encode_value(_arguments(NUMBER)), encode_value(_result(NUMBER))
    done = 0
    began = time.process_time()
    for first in range(0, count, IN_FLIGHT):
        numbers = range(first, min(first + IN_FLIGHT, count))
        for number in numbers:
            pair.client.call("echo", encode_value(_arguments(number)) if values else arguments)
        pair.deliver()
        for event in pair.take()[1]:
            if type(event) is CallReceived:
                if values:
                    (number, _), _ = decode_value(event.payload)  # type: ignore[misc]  # or it raises
                    result = encode_value(_result(number))
                pair.server.resolve(event.call, result)
                pair.server.finish(event.call)
        pair.deliver()
        for event in pair.take()[0]:
            if type(event) is CallResolved:
                if values:
                    last = decode_value(event.payload)
                done += 1
    seconds = time.process_time() - began
    _check(done, count)
    if values:
        _check(last, _result(count - 1))
    return seconds


def connections_items(count: int, *, values: bool) -> float:
    """Items of one stream through two connections, in frames as large as a batch allows."""
    return _items_through_connections(count, 1, BATCH, values)


def connections_own_items(count: int, *, values: bool) -> float:
    """Items through two connections, each alone in its frame: many streams have one each."""
    return _items_through_connections(count, IN_FLIGHT, 1, values)


def _open_streams(pair: Pair, count: int) -> list[Stream]:
    """Have the server answer ``count`` calls with a stream of items each; returns its ends."""
    for _ in range(count):
        pair.client.call("rows", encode_value([(), {}]))
    pair.deliver()
    answer = encode_value(object(), lambda _: Reference(0))
    streams: list[Stream] = []
    for event in pair.take()[1]:
        if type(event) is CallReceived:
            streams += pair.server.resolve(event.call, answer, [(Kind.ITEMS, None)])
    pair.deliver()
    pair.take()
    return streams


def _items_through_connections(count: int, streams: int, at_once: int, values: bool) -> float:
    pair = Pair()
    server = pair.server
    ends = _open_streams(pair, streams)
    ready = encode_value(row(NUMBER))
    sent = seen = 0
    began = time.process_time()
    while seen < count:
        before = sent
        for end in ends:
            for number in range(at_once):
                if not server.writable(end):
                    break
                server.send_plain(end, encode_value(row(number)) if values else ready)
                sent += 1
        pair.deliver()
        seen += _consume(pair, pair.take()[0], values)
        _check(seen, sent)
        if sent == before:
            # The credit that was given back last is on its way now.
            pair.deliver()
    seconds = time.process_time() - began
    return seconds * count / sent


def _consume(pair: Pair, events: Sequence[Event], values: bool) -> int:
    """Take items, compare the last of each frame, give their credit back; returns how many there were."""
    seen = 0
    for event in events:
        if type(event) is ItemsReceived:
            if values:
                items = decode_items(event.payload, event.count)
                _check(items[-1], row(event.count - 1))
            pair.client.consumed(event.stream, event.count)
            seen += event.count
    return seen
