"""The ledger of streams: numbers, owners, halves, fragments and credit of what an implementation sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from telewire_spec.layout import CODES, Frame
from telewire_spec.plain import head

__all__ = ["Broken", "Streams"]

EMPTY_CODES: Final = {
    CODES[name]
    for name in (
        *("NOT_STARTED", "STOPPED", "OUTCOME_UNKNOWN", "DEADLINE_EXCEEDED", "REFERENCE_RELEASED"),
        *("CHANNEL_CLOSED", "UNSUPPORTED", "MESSAGE_TOO_LARGE"),
    )
}
DATA: Final = {"items": ("ITEM", "ITEMS"), "channel": ("ITEM", "ITEMS"), "bytes": ("CHUNK",)}


class Broken(Exception):
    """A rule is broken: its id, and what was seen."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule
        self.text = text


@dataclass(slots=True)
class Half:
    """A half on which the implementation sends."""

    limit: int
    spent: int = 0
    ended: bool = False
    stopped: bool = False
    # Of a payload that is incomplete: the type of its first frame, its size, and what has come.
    begun: str | None = None
    size: int = 0
    got: int = 0


@dataclass(slots=True)
class Entry:
    """A stream: whose it is, what it is, and to which call it belongs."""

    kind: str
    ours: bool
    owner: Entry | None
    half: Half | None = None
    answered: bool = False
    over: bool = False
    stops: int = 0
    resets: int = 0
    granted: int = 0
    function: int | None = None
    children: list[Entry] = field(default_factory=list)


class Streams:
    """What is open, as far as frames show it. ``ours`` means opened by the implementation."""

    def __init__(self, limits: Mapping[str, int], *, unlimited: bool, at_once: bool) -> None:
        self.limits = limits
        self.window = (1 << 53) - 1 if unlimited else limits["stream_window"]
        self.at_once = at_once
        self.table: dict[int, Entry] = {}
        self.next = {True: 0, False: 0}
        self.unanswered = 0

    def count_anew(self) -> None:
        """Go on with credit, of which nothing is there on what is open (TW-SES-086)."""
        self.window = self.limits["stream_window"]
        for entry in self.table.values():
            entry.granted = 0
            if entry.half is not None:
                entry.half.spent = 0
                entry.half.limit = self.window if entry.kind == "call" else 0

    # --- what the runner sends -------------------------------------------------------------------

    def said(self, frame: Frame) -> None:
        """Note a frame of the runner's that the grammar allows."""
        name = frame["frame"]
        if "stream" not in frame:
            return
        mine = -1 - frame["stream"]
        entry = self.table.get(mine)
        if name == "CALL":
            if frame["stream"] != self.next[False]:
                return
            entry = self._open(mine, "call", None)
        if entry is None:
            return
        for number, kind, *_ in frame.get("declare", ()):
            if number == self.next[False]:
                self._open(-1 - number, kind, entry)
        if name == "GRANT" and entry.half is not None:
            entry.half.limit = max(entry.half.limit, frame["limit"])
        elif name == "STOP":
            entry.stops += 1
            if entry.half is not None and not (entry.kind == "call" and not entry.answered):
                entry.half.stopped = True
            if entry.kind == "call" and entry.ours is False and entry.answered:
                entry.over = True
        elif name in ("END", "ERROR") and entry.ours and entry.kind == "call" and not entry.answered:
            if not frame.get("flags"):
                self._answered(entry, name)
        elif name == "RESET" and entry.kind == "call" and entry.ours:
            entry.over = True

    # --- what the implementation sends -----------------------------------------------------------

    def heard(self, frame: Frame) -> None:
        """Judge a positioned frame of the implementation's.

        Raises:
            Broken: it breaks a rule.
        """
        name = frame["frame"]
        if "stream" not in frame:
            return
        stream = frame["stream"]
        payload = frame.get("payload", b"")
        if len(payload) > self.limits["fragment_bytes"] and name not in ("STOP", "RESET"):
            raise Broken("TW-FRM-048", f"{name} has a payload of {len(payload)} bytes.")
        entry = self._call(frame) if name == "CALL" else self.table.get(stream)
        if entry is None:
            raise Broken("TW-FRM-062", f"{name} is about stream {stream}, which nobody has opened.")
        self._declare(frame, entry)
        if name == "GRANT":
            self._grant(frame, entry)
        elif name in ("STOP", "RESET"):
            self._farewell(frame, entry)
        else:
            self._data(frame, entry)

    def _open(self, mine: int, kind: str, owner: Entry | None, function: int | None = None) -> Entry:
        ours = mine >= 0
        root = owner if owner is None or owner.kind == "call" else owner.owner
        entry = Entry(kind, ours, root, function=function)
        if ours or kind in ("call", "channel"):
            entry.half = None if kind == "function" else Half(self.window)
        self.table[mine] = entry
        self.next[ours] += 1
        if root is not None:
            root.children.append(entry)
        return entry

    def _call(self, frame: Frame) -> Entry:
        stream, target = frame["stream"], frame["target"]
        if stream != self.next[True]:
            raise Broken("TW-MOD-022", f"A CALL has the number {stream} and not {self.next[True]}.")
        if isinstance(target, str):
            if len(target.encode()) > self.limits["name_bytes"]:
                raise Broken("TW-FRM-036", f"A name has {len(target.encode())} bytes.")
        else:
            aim = self.table.get(target)
            if (
                aim is None
                or aim.kind not in ("function", "channel")
                or (aim.kind == "function" and aim.ours)
            ):
                raise Broken("TW-FRM-035", f"A CALL has the target {target}.")
            if aim.kind == "function" and (aim.stops or aim.resets) and self.at_once:
                raise Broken("TW-CAL-003", f"A CALL has the target {target}, which is released.")
        if frame["size"] > self.limits["message_bytes"]:
            raise Broken("TW-LIM-002", f"A CALL has a payload of {frame['size']} bytes.")
        self.unanswered += 1
        if self.unanswered > self.limits["open_calls"]:
            raise Broken("TW-CAL-004", f"{self.unanswered} calls are open.")
        return self._open(stream, "call", None)

    def _declare(self, frame: Frame, entry: Entry) -> None:
        declared = frame.get("declare", ())
        if declared and frame["frame"] == "ERROR":
            raise Broken("TW-FRM-064", "An ERROR declares streams.")
        if declared and frame["flags"]:
            raise Broken("TW-FRM-044", "A frame with MORE declares streams.")
        if len(declared) > self.limits["references"]:
            raise Broken("TW-FRM-063", f"A payload declares {len(declared)} streams.")
        for number, kind, *rest in declared:
            if number != self.next[True]:
                raise Broken(
                    "TW-MOD-022", f"A declaration has the number {number} and not {self.next[True]}."
                )
            self._open(number, kind, entry, rest[0] if rest else None)

    def _grant(self, frame: Frame, entry: Entry) -> None:
        receives = entry.kind == "channel" or (entry.kind == "call") or not entry.ours
        if not receives or entry.kind == "function":
            raise Broken(
                "TW-STR-002", f"A GRANT is for stream {frame['stream']}, on which nothing is received."
            )
        if frame["limit"] <= entry.granted:
            raise Broken("TW-STR-035", f"A GRANT of {frame['limit']} follows one of {entry.granted}.")
        entry.granted = frame["limit"]

    def _farewell(self, frame: Frame, entry: Entry) -> None:
        name = frame["frame"]
        if len(frame["payload"]) > self.limits["reason_bytes"]:
            raise Broken("TW-FRM-051", f"The payload of a {name} has {len(frame['payload'])} bytes.")
        if frame["code"] > 31:
            raise Broken("TW-ERR-001", f"A {name} has the code {frame['code']}.")
        if frame["code"] in EMPTY_CODES and frame["payload"]:
            raise Broken("TW-ERR-001", f"A {name} with the code {frame['code']} has a payload.")
        if name == "STOP":
            sends = entry.ours if entry.kind != "call" else not entry.ours
            if sends and entry.kind != "channel":
                raise Broken(
                    "TW-STR-002", f"A STOP is for stream {frame['stream']}, on which nothing is received."
                )
            entry.resets += 1
            if entry.resets > 1 + (entry.kind == "channel"):
                raise Broken("TW-CAL-038", f"Stream {frame['stream']} is stopped twice.")
            return
        if entry.kind == "call":
            if entry.ours or not entry.answered:
                raise Broken(
                    "TW-CAL-015", f"Call {frame['stream']} is reset and not answered, or by its caller."
                )
            entry.over = True
        elif not entry.ours and entry.kind != "channel":
            raise Broken("TW-STR-002", f"A RESET is for stream {frame['stream']}, on which nothing is sent.")
        if entry.half is not None:
            if entry.half.ended and entry.kind != "call":
                raise Broken("TW-MOD-012", f"A RESET follows the end of stream {frame['stream']}.")
            entry.half.ended = True

    def _data(self, frame: Frame, entry: Entry) -> None:
        """CALL, END, ERROR, items, chunks and fragments."""
        name, stream = frame["frame"], frame["stream"]
        half = entry.half
        if half is None or (entry.ours and entry.kind == "call" and name not in ("CALL", "FRAGMENT")):
            raise Broken("TW-STR-002", f"{name} is about stream {stream}, on which nothing is sent.")
        if name in ("ITEM", "ITEMS", "CHUNK") and name not in DATA.get(entry.kind, ()):
            raise Broken("TW-MOD-011", f"{name} is about stream {stream}, a {entry.kind}.")
        if entry.owner is not None and entry.owner.over:
            raise Broken("TW-MOD-054", f"{name} is about stream {stream}, whose call is over.")
        if half.ended:
            rule = "TW-CAL-010" if entry.kind == "call" else "TW-STR-007"
            raise Broken(rule, f"{name} follows the end of stream {stream}.")
        if half.stopped and self.at_once and entry.kind != "call":
            raise Broken("TW-STR-006", f"{name} is about stream {stream}, which the runner has stopped.")
        self._pieces(frame, half)
        self._code(frame)
        self._spend(frame, half)
        if name == "ITEMS" and not frame["payload"].startswith(head(4, frame["count"])):
            raise Broken("TW-FRM-042", f"The payload of ITEMS is no array of {frame['count']}.")
        done = not frame.get("flags")
        first = half.begun if name == "FRAGMENT" else name
        if done:
            half.begun = None
        if done and first in ("END", "ERROR"):
            half.ended = True
            if entry.kind == "call":
                self._answered(entry, str(first))
            elif first == "END" and entry.kind in ("bytes", "channel") and frame["payload"]:
                raise Broken("TW-STR-003", f"The END of stream {stream}, a {entry.kind}, has a payload.")

    def _pieces(self, frame: Frame, half: Half) -> None:
        """Sizes and fragments."""
        name, length = frame["frame"], len(frame["payload"])
        more = bool(frame["flags"])
        if name == "FRAGMENT":
            if half.begun is None:
                raise Broken("TW-FRM-045", "A FRAGMENT continues nothing.")
            half.got += length
            if (more and half.got >= half.size) or (not more and half.got != half.size):
                raise Broken("TW-FRM-046", f"{half.got} of {half.size} bytes have come with a fragment.")
            return
        if half.begun is not None and name != "ERROR":
            raise Broken("TW-FRM-047", f"{name} comes within a payload that is incomplete.")
        if name in ("ITEMS", "CHUNK"):
            return
        if frame["size"] > self.limits["message_bytes"]:
            raise Broken("TW-LIM-002", f"{name} has a payload of {frame['size']} bytes.")
        if more:
            half.begun, half.size, half.got = name, frame["size"], length
        if (length >= frame["size"]) if more else (length != frame["size"]):
            raise Broken("TW-FRM-043", f"{name} has {length} bytes of payload and states {frame['size']}.")

    def _code(self, frame: Frame) -> None:
        if frame["frame"] != "ERROR":
            return
        if not 1 <= frame["code"] <= 31:
            raise Broken("TW-ERR-001", f"An ERROR has the code {frame['code']}.")
        if frame["code"] in EMPTY_CODES and frame["size"]:
            raise Broken("TW-ERR-001", f"An ERROR with the code {frame['code']} has a payload.")

    def _spend(self, frame: Frame, half: Half) -> None:
        """The ledger of TW-STR-030."""
        name, length = frame["frame"], len(frame["payload"])
        least = self.limits["item_cost"]
        first = half.begun if name == "FRAGMENT" else name
        if name in ("ITEMS", "CHUNK"):
            cost = max(length, least * frame.get("count", 1))
        elif first == "ITEM":
            whole = half.size if name == "FRAGMENT" else frame["size"]
            cost = length + (max(0, least - whole) if not frame["flags"] else 0)
        else:
            whole = half.size if name == "FRAGMENT" else frame["size"]
            cost = 0 if whole <= least else length
        half.spent += cost
        if cost and half.spent > half.limit:
            raise Broken(
                "TW-STR-031", f"{name} brings a half to {half.spent}, and its limit is {half.limit}."
            )

    def _answered(self, entry: Entry, by: str) -> None:
        entry.answered = True
        if entry.ours:
            self.unanswered -= 1
        if by == "ERROR" or entry.stops:
            entry.over = True
