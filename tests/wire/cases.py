"""One table of frames and their exact bytes; it drives the encoder, the decoder and the CDDL."""

from __future__ import annotations

from telewire.wire import frames as f

TOP = (1 << 53) - 1
TOP_HEX = "1b 001fffffffffffff"

# Name, frame, encoding.
CASES: list[tuple[str, f.Frame, str]] = [
    ("hello", f.Hello(1, 1), "87 00 01 01 80 a0 f6 f6"),
    (
        "hello in full",
        f.Hello(1, 2, (1, 24), {0: 65536, 15: 256}, b"id", b"token", {14: "x"}),
        "88 00 01 02 82 01 1818 a2 00 1a00010000 0f 190100 42 6964 45 746f6b656e a1 0e 6178",
    ),
    ("resume", f.Resume(b"id", b"t", 3, 1000), "85 01 42 6964 41 74 03 1903e8"),
    ("resumed", f.Resumed(3, 1024), "83 02 03 190400"),
    ("ack", f.Ack(0), "82 03 00"),
    ("ack at the top", f.Ack(TOP), f"82 03 {TOP_HEX}"),
    ("ping", f.Ping(23), "82 04 17"),
    ("pong", f.Pong(24, {2: 1}), "83 05 1818 a1 02 01"),
    ("position", f.Position(255), "82 06 18ff"),
    ("call", f.Call(0, "echo", 0, 3, b"abc"), "86 10 00 64 6563686f 00 03 43 616263"),
    (
        "call with a deadline",
        f.Call(1, "f", 0, 0, b"", (), {0: 5000}),
        "87 10 01 61 66 00 00 40 a1 00 191388",
    ),
    ("call of a function", f.Call(2, -1, 0, 1, b"\x80"), "86 10 02 20 00 01 41 80"),
    ("call of a channel", f.Call(2, 7, 0, 1, b"\x80"), "86 10 02 07 00 01 41 80"),
    ("call begun", f.Call(2, "f", 1, 4, b"abc"), "86 10 02 61 66 01 04 43 616263"),
    (
        "call with declarations and metadata",
        f.Call(
            2,
            "f",
            0,
            1,
            b"\x80",
            (f.Declaration(3, f.Kind.PROMISE), f.Declaration(4, f.Kind.CHANNEL, 9)),
            {f.KEY_METADATA: {"b": "2", "a": "1"}, f.KEY_IDEMPOTENCY: b"k", f.KEY_TRACE: "t"},
        ),
        "88 10 02 61 66 00 01 41 80 82 82 03 01 83 04 05 09"
        "a3 06 a2 61 61 61 31 61 62 61 32 08 61 74 0a 41 6b",
    ),
    ("end", f.End(-1, 0, 1, b"\xf6"), "85 11 20 00 01 41 f6"),
    ("empty end", f.End(5, 0, 0, b""), "85 11 05 00 00 40"),
    (
        "end with a declaration",
        f.End(-2, 0, 1, b"\x01", (f.Declaration(TOP, f.Kind.ITEMS),)),
        f"86 11 21 00 01 41 01 81 82 {TOP_HEX} 02",
    ),
    ("error", f.Error(-1025, 2, 0, 1, b"\x01"), "86 12 390400 02 00 01 41 01"),
    ("error of an unknown code", f.Error(1, TOP, 0, 0, b""), f"86 12 01 {TOP_HEX} 00 00 40"),
    ("item", f.Item(0, 0, 1, b"\x01", (), {1: [1.5]}), "86 13 00 00 01 41 01 a1 01 81 f93e00"),
    ("items", f.Items(1024, 0, 2, b"\x82\x01\x02"), "85 14 190400 00 02 43 820102"),
    ("items with an extension", f.Items(0, 0, 1, b"\x81\x01", {4: 0}), "86 14 00 00 01 42 8101 a1 04 00"),
    ("chunk", f.Chunk(-(1 << 53), 0, b"x" * 24), "84 15 3b 001fffffffffffff 00 5818" + "78" * 24),
    ("chunk with an extension", f.Chunk(0, 0, b"x", {4: 1}), "85 15 00 00 41 78 a1 04 01"),
    ("fragment", f.Fragment(3, 1, b"x"), "84 16 03 01 41 78"),
    (
        "last fragment",
        f.Fragment(3, 0, b"x", (f.Declaration(0, f.Kind.FUNCTION, 0),), {14: None}),
        "86 16 03 00 41 78 81 83 00 04 00 a1 0e f6",
    ),
    ("stop", f.Stop(-1, 5), "84 17 20 05 40"),
    ("stop with a reason", f.Stop(-1, 5, b"\x61x", {14: -1}), "85 17 20 05 42 6178 a1 0e 20"),
    ("reset", f.Reset(TOP, 0, b"\xf6"), f"84 1818 {TOP_HEX} 00 41 f6"),
    ("grant", f.Grant(-1, 65536), "83 1819 20 1a 00010000"),
    ("grant with an extension", f.Grant(-1, 1, {4: 1}), "84 1819 20 01 a1 04 01"),
    ("goaway", f.GoAway(7, 0, "bye"), "84 181a 07 00 63 627965"),
    ("close", f.Close(38, "ä"), "83 181b 1826 62 c3a4"),
    ("reserved type", f.Unknown(8), "81 08"),
    ("extension of the connection", f.Unknown(64), "81 1840"),
    ("extension of a stream", f.Unknown(65535, -3), "82 19ffff 22"),
]
