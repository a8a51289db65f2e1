"""The broken peers, each with the rule that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import cbor2

from telewire_spec.broken.peer import Batch, BrokenPeer, Events, Fields

__all__ = ["PEERS"]

HELLO, RESUMED, ACK, PING, PONG = 0, 2, 3, 4, 5
CALL, END, ERROR, ITEM, ITEMS, CHUNK, FRAGMENT = 16, 17, 18, 19, 20, 21, 22
STOP, RESET, GRANT, GOAWAY, CLOSE = 23, 24, 25, 26, 27
LAST: Final = (1 << 53) - 1


def each(*kinds: int, to: Callable[[Fields], Batch]) -> Callable[[Batch], Batch]:
    """Change every frame of these types into those that ``to`` gives."""

    def change(frames: Batch) -> Batch:
        return [one for frame in frames for one in (to(frame) if frame[0] in kinds else [frame])]

    return change


def drop(*kinds: int) -> Callable[[Batch], Batch]:
    """Lose every frame of these types."""
    return each(*kinds, to=lambda frame: [])


def twice(*kinds: int) -> Callable[[Batch], Batch]:
    """Repeat every frame of these types."""
    return each(*kinds, to=lambda frame: [frame, frame])


# Any: what stands in a field.
def put(kind: int, at: int, value: Any) -> Callable[[Batch], Batch]:
    """Put another value into a field; a function gets what stood there."""

    def change(frame: Fields) -> Batch:
        new = value(frame[at]) if callable(value) else value
        return [[*frame[:at], new, *frame[at + 1 :]]]

    return each(kind, to=change)


def unlimited(number: int) -> Callable[[Batch], Batch]:
    """Hear a hello without one of its limits, which is then the default."""
    return put(HELLO, 4, lambda limits: {key: value for key, value in limits.items() if key != number})


def shifted(name: str, by: int) -> Callable[[dict[str, int]], dict[str, int]]:
    """Enforce a limit that is off by a little, where it is stated at all."""
    return lambda limits: limits | ({name: max(0, limits[name] + by)} if name in limits else {})


def swap_first(frames: Batch) -> Batch:
    """Let the second data frame overtake the first."""
    return [frames[1], frames[0], *frames[2:]] if len(frames) > 1 and frames[0][0] != HELLO else frames


def one_by_one(batch: bytes) -> list[bytes]:
    """Take each frame by itself, so that those before a wrong one have their effect."""
    try:
        frames = cbor2.loads(batch)
        return [cbor2.dumps([frame]) for frame in frames] if len(frames) > 1 else [batch]
    except (cbor2.CBORDecodeError, TypeError):
        return [batch]


def read_again(batch: bytes) -> list[bytes]:
    """Read with a decoder that minds nothing."""
    try:
        return [cbor2.dumps(cbor2.loads(batch))]
    except cbor2.CBORDecodeError:
        return [batch]


def without_rest(batch: bytes) -> list[bytes]:
    """Read the first item and not ask what stands behind it."""
    for end in range(1, len(batch)):
        try:
            cbor2.loads(batch[:end])
            return [batch[:end]]
        except (cbor2.CBORDecodeError, ValueError):
            continue
    return [batch]


# Any: a map of an extension.
def no_odd_keys(frames: Batch) -> Batch:
    """Ignore odd keys as if they were even."""
    return [
        [
            {key: part for key, part in field.items() if key % 2 == 0}
            if isinstance(field, dict) and frame[0]
            else field
            for field in frame
        ]
        for frame in frames
    ]


def of(name: str) -> Callable[[dict[str, Any]], bool]:
    """Whether an event is of that name."""
    return lambda event: event["event"] == name


def loses(name: str) -> Callable[[Events], Events]:
    """Do not tell the application."""
    return lambda events: [event for event in events if not of(name)(event)]


def repeats(name: str) -> Callable[[Events], Events]:
    """Tell the application twice."""
    return lambda events: [
        one for event in events for one in ([event, event] if of(name)(event) else [event])
    ]


def backwards(name: str) -> Callable[[Events], Events]:
    """Tell the application in another order."""

    def change(events: Events) -> Events:
        turned = [event for event in events if of(name)(event)][::-1]
        return [turned.pop(0) if of(name)(event) else event for event in events]

    return change


def reversed_items(frame: Fields) -> Batch:
    """Turn a group of items round."""
    return [[*frame[:4], cbor2.dumps(cbor2.loads(frame[4])[::-1]), *frame[5:]]]


PEERS: Final[tuple[BrokenPeer, ...]] = (
    # --- what it says
    BrokenPeer("answers-twice", "TW-CAL-010", says=twice(END)),
    BrokenPeer("answers-nothing", "TW-CAL-010", says=drop(END)),
    BrokenPeer("fails-silently", "TW-CAL-010", says=drop(ERROR)),
    BrokenPeer("skips-a-number", "TW-MOD-022", says=put(CALL, 1, lambda number: number + 1)),
    BrokenPeer("says-a-wrong-pong", "TW-NEG-062", says=put(PONG, 1, lambda number: number ^ 1)),
    BrokenPeer("says-no-pong", "TW-NEG-062", says=drop(PONG)),
    BrokenPeer(
        "says-pongs-backwards",
        "TW-NEG-062",
        says=lambda frames: frames[::-1] if all(f[0] == PONG for f in frames) else frames,
    ),
    BrokenPeer(
        "ends-with-a-code-of-the-connection", "TW-ERR-001", says=put(ERROR, 2, lambda code: code + 32)
    ),
    BrokenPeer("stops-with-none-only", "TW-STR-009", says=put(STOP, 2, 0)),
    BrokenPeer("does-not-stop", "TW-CAL-030", says=drop(STOP)),
    BrokenPeer("stops-twice", "TW-CAL-038", says=twice(STOP)),
    BrokenPeer("does-not-reset", "TW-STR-005", says=drop(RESET)),
    BrokenPeer("grants-nothing", "TW-STR-035", says=drop(GRANT)),
    BrokenPeer("grants-relatively", "TW-STR-033", says=put(GRANT, 2, lambda limit: max(0, limit - 65536))),
    BrokenPeer("grants-without-end", "TW-STR-035", says=put(GRANT, 2, LAST)),
    BrokenPeer("sends-items-backwards", "TW-STR-010", says=each(ITEMS, to=reversed_items)),
    BrokenPeer("counts-items-wrongly", "TW-FRM-042", says=put(ITEMS, 3, lambda count: count + 1)),
    BrokenPeer("ends-before-the-last-item", "TW-STR-062", says=swap_first),
    BrokenPeer("closes-without-a-word", "TW-ERR-012", says=drop(CLOSE)),
    BrokenPeer("closes-with-one-code", "TW-ERR-012", says=put(CLOSE, 1, 32)),
    BrokenPeer("closes-twice", "TW-ERR-050", says=twice(CLOSE)),
    BrokenPeer(
        "tells-secrets-in-its-close", "TW-ERR-045", says=put(CLOSE, 2, "function the-secret-name has failed")
    ),
    BrokenPeer("goes-away-silently", "TW-ERR-060", says=drop(GOAWAY)),
    BrokenPeer("goes-away-from-everything", "TW-ERR-060", says=put(GOAWAY, 1, 0)),
    BrokenPeer("speaks-another-version", "TW-NEG-021", says=put(HELLO, 2, 2)),
    BrokenPeer("lists-a-feature-of-its-own", "TW-NEG-032", says=put(HELLO, 3, [1, 2])),
    BrokenPeer("names-no-session", "TW-NEG-012", says=put(HELLO, 5, None)),
    BrokenPeer("states-too-little", "TW-LIM-003", says=put(HELLO, 4, {0: 512})),
    BrokenPeer(
        "says-deadlines-in-seconds",
        "TW-CAL-042",
        says=each(
            CALL,
            to=lambda f: [
                [*f[:-1], {k: v // 1000 if k in (0, 2) else v for k, v in f[-1].items()}]
                if isinstance(f[-1], dict)
                else f
            ],
        ),
    ),
    BrokenPeer(
        "sends-no-deadlines",
        "TW-CAL-040",
        says=each(CALL, to=lambda f: [f[:-1] if isinstance(f[-1], dict) else f]),
    ),
    BrokenPeer("sends-empty-chunks", "TW-FRM-049", says=each(CHUNK, to=lambda f: [f, [f[0], f[1], 0, b""]])),
    BrokenPeer(
        "ends-bytes-with-null",
        "TW-STR-003",
        says=each(END, to=lambda f: [[f[0], f[1], 0, 1, b"\xf6"]] if f[3] == 0 else [f]),
    ),
    BrokenPeer("forgets-to-say-more", "TW-FRM-043", says=put(CALL, 3, 0)),
    BrokenPeer("acknowledges-too-much", "TW-SES-010", says=put(ACK, 1, lambda received: received + 1)),
    BrokenPeer("never-acknowledges", "TW-SES-011", says=drop(ACK)),
    BrokenPeer("resumes-from-nothing", "TW-SES-036", says=put(RESUMED, 2, 0)),
    BrokenPeer("tries-the-same-attempt", "TW-SES-032", says=put(1, 3, 1)),
    BrokenPeer("promotes-without-a-name", "TW-SES-082", says=each(HELLO, to=lambda f: [f[:7]])),
    BrokenPeer(
        "promotes-without-a-session",
        "TW-SES-082",
        says=each(HELLO, to=lambda f: [[*f[:5], None, None, *f[7:]] if len(f) > 7 else f]),
    ),
    BrokenPeer(
        "counts-what-the-request-brought",
        "TW-SES-086",
        says=put(GRANT, 2, lambda limit: limit + 6000 if limit == 3096 else limit),
    ),
    # --- what it hears
    BrokenPeer("posts-before-its-request-has-arrived", "TW-SES-084", hears=put(ACK, 1, lambda received: 2)),
    BrokenPeer("does-not-hear-stop", "TW-STR-006", hears=drop(STOP)),
    BrokenPeer("does-not-hear-reset", "TW-STR-005", hears=drop(RESET)),
    BrokenPeer("does-not-hear-grants", "TW-STR-033", hears=drop(GRANT)),
    BrokenPeer("hears-every-grant-as-the-largest", "TW-STR-031", hears=put(GRANT, 2, LAST)),
    BrokenPeer("does-not-hear-going-away", "TW-ERR-063", hears=drop(GOAWAY)),
    BrokenPeer("does-not-hear-close", "TW-ERR-051", hears=drop(CLOSE)),
    BrokenPeer("does-not-hear-acks", "TW-SES-021", hears=drop(ACK)),
    BrokenPeer(
        "ignores-what-it-must-understand",
        "TW-FRM-031",
        hears=lambda frames: [f for f in frames if not (isinstance(f[0], int) and f[0] in (7, 15, 65, 127))],
    ),
    BrokenPeer(
        "refuses-what-it-may-ignore", "TW-FRM-031", hears=each(8, 14, 64, 120, 126, to=lambda f: [[65]])
    ),
    BrokenPeer("ignores-odd-keys", "TW-FRM-072", hears=no_odd_keys),
    BrokenPeer(
        "forgets-deadlines",
        "TW-CAL-044",
        hears=each(
            CALL,
            to=lambda f: [
                [*f[:-1], {k: v for k, v in f[-1].items() if k not in (0, 2)}]
                if isinstance(f[-1], dict)
                else f
            ],
        ),
    ),
    BrokenPeer(
        "takes-unknown-features-for-an-error",
        "TW-NEG-030",
        takes=lambda batch: [b"\x81\x81\x07"] if b"\x19\xff\x00" in batch else [batch],
    ),
    BrokenPeer("goes-by-fragment-bytes-of-its-own", "TW-FRM-048", hears=unlimited(0)),
    BrokenPeer("goes-by-batch-bytes-of-its-own", "TW-FRM-002", hears=unlimited(1)),
    BrokenPeer("goes-by-message-bytes-of-its-own", "TW-LIM-002", hears=unlimited(2)),
    BrokenPeer("overspends", "TW-STR-031", hears=unlimited(3)),
    BrokenPeer("calls-too-often", "TW-CAL-004", hears=unlimited(4)),
    BrokenPeer("declares-too-many", "TW-STR-070", hears=unlimited(5)),
    BrokenPeer("declares-too-many-with-credit", "TW-STR-070", hears=unlimited(6)),
    BrokenPeer("declares-too-many-at-once", "TW-FRM-063", hears=unlimited(7)),
    BrokenPeer("calls-by-too-long-names", "TW-FRM-036", hears=unlimited(11)),
    BrokenPeer("sends-too-much-metadata", "TW-FRM-073", hears=unlimited(12)),
    BrokenPeer("gives-too-long-reasons", "TW-FRM-051", hears=unlimited(13)),
    BrokenPeer("sends-too-many-frames", "TW-FRM-002", hears=unlimited(14)),
    BrokenPeer("charges-items-as-it-likes", "TW-STR-030", hears=unlimited(15)),
    # --- what it takes
    BrokenPeer("takes-half-a-batch", "TW-FRM-006", takes=one_by_one),
    BrokenPeer("takes-any-encoding", "TW-FRM-022", takes=read_again),
    BrokenPeer("does-not-look-behind-the-batch", "TW-FRM-001", takes=without_rest),
    BrokenPeer(
        "wants-the-shortest-heads",
        "TW-FRM-021",
        takes=lambda batch: [batch if batch[:1] != b"\x9b" else b"\xff"],
    ),
    # --- what it enforces
    *(
        BrokenPeer(f"takes-one-{word}-{name.replace('_', '-')}", rule, enforces=shifted(name, by))
        for name, rule in (
            ("open_calls", "TW-CAL-060"),
            ("open_streams", "TW-STR-071"),
            ("credited_streams", "TW-STR-071"),
            ("references", "TW-FRM-063"),
            ("argument_bytes", "TW-CAL-062"),
            ("name_bytes", "TW-FRM-036"),
            ("metadata_bytes", "TW-FRM-073"),
            ("reason_bytes", "TW-FRM-051"),
            ("nesting", "TW-FRM-022"),
            ("batch_frames", "TW-FRM-002"),
            ("message_bytes", "TW-STR-041"),
        )
        for word, by in (("more", 1), ("less", -1))
    ),
    BrokenPeer("takes-what-was-not-granted", "TW-STR-032", enforces=shifted("stream_window", 1024)),
    # --- what its application learns, and wants
    BrokenPeer("delivers-items-twice", "TW-STR-010", learns=repeats("item")),
    BrokenPeer("delivers-items-backwards", "TW-STR-010", learns=backwards("item")),
    BrokenPeer("loses-items", "TW-STR-010", learns=loses("item")),
    BrokenPeer("starts-calls-backwards", "TW-CAL-021", learns=backwards("call")),
    BrokenPeer("does-not-tell-of-a-lost-connection", "TW-MOD-056", learns=loses("rejected")),
    BrokenPeer("does-not-tell-of-failures", "TW-STR-004", learns=loses("failed")),
    BrokenPeer("does-not-tell-of-stops", "TW-CAL-034", learns=loses("stopped")),
    BrokenPeer("does-not-tell-the-end", "TW-STR-004", learns=loses("ended")),
    BrokenPeer(
        "loses-metadata",
        "TW-CAL-050",
        learns=lambda events: [{k: v for k, v in e.items() if k != "metadata"} for e in events],
    ),
    BrokenPeer("grants-on-arrival", "TW-STR-034", says=each(GRANT, to=lambda f: [[f[0], f[1], f[2] + 1]])),
    BrokenPeer("has-a-slow-clock", "TW-NEG-061", clock=0.5),
    BrokenPeer("has-a-hasty-clock", "TW-CAL-046", clock=2.0),
)
"""All of them; names and rules are as told in the report."""
