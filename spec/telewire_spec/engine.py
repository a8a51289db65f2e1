"""The engine: runs one case against one subject, as the peer, and gives a verdict; does no I/O of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from telewire_spec.casefile import Case
from telewire_spec.layout import Frame, code, make_frame, read_batch, show
from telewire_spec.matching import differs
from telewire_spec.plain import head, is_form, number, payload
from telewire_spec.subject import Reaction, Subject, SubjectFailed, Unsupported
from telewire_spec.watch import Broken, Watch

__all__ = ["PASSING", "Result", "run_case"]

PASSING: Final = ("pass", "non-strict")
IGNORED: Final = frozenset({"ACK", "PING", "GRANT"})
FIRST_POSITIONED: Final = 16
SESSION: Final = b"conformance"
TOKEN: Final = b"conformance 16 b"
GREASE: Final[dict[str, Any]] = {
    "features": [65280, 65534],
    "limits": {65281: 7},
    "extensions": {65282: "grease"},
}


@dataclass(slots=True)
class Result:
    """What became of a case in one role over one carrier."""

    case: Case
    role: str
    carrier: str
    verdict: str
    reason: str = ""
    broken: str | None = None
    log: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Names the result: the case, the role and the carrier."""
        return f"{self.case.id} [{self.role}, {self.carrier}]"


class Failed(Exception):
    """A step did not come out as the case says."""


def run_case(case: Case, role: str, subject: Subject, *, grease: bool = False) -> Result:
    """Run a case; never raises for what the implementation does."""
    run = Run(case, role, subject, grease)
    begun = time.perf_counter()
    try:
        run.whole()
        verdict, reason = ("non-strict", "; ".join(run.lenient)) if run.lenient else ("pass", "")
    except Unsupported as error:
        verdict, reason = "unsupported", str(error)
    except Broken as error:
        verdict, reason = "fail", str(error)
        run.broken = error.rule
    except (Failed, SubjectFailed) as error:
        verdict, reason = "fail", str(error)
    return Result(
        case, role, subject.carrier, verdict, reason, run.broken, run.log, time.perf_counter() - begun
    )


class Run:
    """One case on its way."""

    def __init__(self, case: Case, role: str, subject: Subject, grease: bool) -> None:
        self.case = case
        self.role = role
        self.subject = subject
        self.grease = grease
        self.log: list[str] = []
        self.lenient: list[str] = []
        self.broken: str | None = None
        self.frames: list[Frame] = []
        # What the expectation in hand has taken, in case another is tried.
        self.taken: list[Frame] = []
        # Any: an event is a map of plain values.
        self.events: list[dict[str, Any]] = []
        self.closed = False
        self.index = 0
        self.pings = 1 << 40
        self.where = "the opening"
        # A subject that tells nothing of its events speaks in its own time: frames cross.
        self.silent = bool(getattr(subject, "silent", False))
        # On a carrier that may repeat or reorder, each batch states where it stands (TW-SES-050). Where it is
        # the case that wants one, the runner's batches say so themselves, or do not.
        self.places = bool(getattr(subject, "places", False))
        placed = self.places or case.places
        self.ignored = IGNORED | ({"POSITION"} if placed else set())
        self.watch = Watch(
            role, case.peer_limits, exchange=case.exchange, at_once=not self.silent, places=placed
        )

    def whole(self) -> None:
        """The opening, the steps, and nothing behind them."""
        self.start()
        if self.case.open:
            self.hellos()
        for at, step in enumerate(self.case.steps, 1):
            self.where = f"step {at}"
            self.step(step)
        self.where = "the end"
        if self.silent and self.case.exchange:
            self.expect_frames([{"CLOSE": {"code": "NONE"}}], False)
        if left := self.unexpected():
            raise self.failed(f"{show(left)} came, which no step expects")
        self.lenient += self.watch.departures

    def failed(self, text: str) -> Failed:
        """Why it failed, and where."""
        return Failed(f"At {self.where}: {text}.")

    def start(self) -> None:
        """Begin the conversation."""
        for need in self.needs():
            if need not in getattr(self.subject, "needs", (need,)):
                raise Unsupported(f"It does not have {need}.")
        for kind in getattr(self.subject, "declines", ()):
            if kind in declared(self.case.steps):
                raise Unsupported(f"It declines streams of the kind {kind} (TW-DOC-005).")
        options: dict[str, Any] = {
            "role": self.role,
            "limits": dict(self.case.limits),
            "resume": self.case.resume,
            "exchange": self.case.exchange,
        }
        if self.case.places:
            options["places"] = True
        if self.role == "server" and (self.case.resume or not self.case.exchange):
            options |= {"session": b"the session", "token": b"the token of 16b"}
        self.absorb(self.subject.start(**options))

    def needs(self) -> tuple[str, ...]:
        """What a subject may lack."""
        extra = [name for name in ("resume", "exchange", "places") if getattr(self.case, name)]
        return (*self.case.needs, *extra)

    def hellos(self) -> None:
        """Exchange the hellos, in whichever order."""
        speaks_first = (self.role == "server") is not self.case.exchange
        if speaks_first:
            self.expect_hello()
        self.emit([make_frame({"HELLO": self.hello()})])
        if not speaks_first and self.watch.hello is None:
            self.take_late()
        if not speaks_first:
            self.expect_hello()
        self.events = [event for event in self.events if event["event"] != "open"]

    def hello(self) -> dict[str, Any]:
        """The runner's hello."""
        limits: dict[Any, Any] = dict(self.case.peer_limits)
        fields: dict[str, Any] = {"features": [1] if self.case.resume else [], "limits": limits}
        if self.role == "client" and not self.case.exchange:
            fields |= {"session": SESSION, "token": TOKEN}
        if self.grease:
            fields["features"] = [*fields["features"], *GREASE["features"]]
            limits.update(GREASE["limits"])
            fields["extensions"] = GREASE["extensions"]
        return fields

    def expect_hello(self) -> None:
        """Take the implementation's hello."""
        frame = self.next_frame(frozenset({"POSITION"}))
        if frame is None or frame["frame"] != "HELLO":
            raise self.failed(f"{'nothing' if frame is None else show(frame)} came instead of a HELLO")

    # --- steps -----------------------------------------------------------------------------------

    # Any, from here on: steps are data.
    def step(self, step: Mapping[str, Any]) -> None:
        """Do one step."""
        step = self.known(step)
        if "repeat" in step:
            for self.index in range(number(step["repeat"])):
                for inner in step["steps"]:
                    self.step(self.filled(inner))
        elif "send" in step:
            self.emit(
                [make_frame(frame) for frame in self.spread(step["send"])],
                in_request=bool(step.get("in_request")),
            )
        elif "bytes" in step:
            self.emit_batch(self.raw(step["bytes"]))
        elif "expect" in step:
            self.expect(step)
        elif "event" in step:
            begin = 0
            for pattern in self.spread(step["event"]):
                begin = self.expect_event(pattern, begin)
        elif "no_event" in step:
            self.refuse_events(step["no_event"])
        elif "do" in step:
            self.absorb(self.subject.do([self.command(each) for each in self.spread(step["do"])]))
        elif "closes" in step:
            self.closes(step["closes"])
        elif "alive" in step:
            self.alive()
        elif "advance" in step:
            self.log.append(f"    time passes: {step['advance']} s")
            self.absorb(self.subject.advance(step["advance"]))
        elif "cut" in step:
            self.log.append("    the transport is lost")
            self.watch.lost()
            self.absorb(self.subject.cut())
        else:
            self.log.append("    there is another transport")
            self.watch.lost()
            self.absorb(self.subject.attach())

    def known(self, value: Any) -> Any:
        """Put in what only the conversation tells: the session and the token of the implementation."""
        if isinstance(value, str) and value in ("$session", "$token"):
            if self.role == "client":
                return {"$session": SESSION, "$token": TOKEN}[value]
            return (self.watch.hello or {}).get(value[1:])
        if isinstance(value, list):
            return [self.known(each) for each in value]
        if isinstance(value, dict):
            return {key: each if key == "steps" else self.known(each) for key, each in value.items()}
        return value

    def filled(self, value: Any) -> Any:
        """Put the number of the repetition where ``$i`` stands."""
        if value == "$i":
            return self.index
        if isinstance(value, str):
            return value.replace("${i}", str(self.index))
        if isinstance(value, list):
            return [self.filled(each) for each in value]
        if isinstance(value, dict):
            return {key: self.filled(each) for key, each in value.items()}
        return value

    def spread(self, written: list[Any]) -> list[Any]:
        """A list in which ``{times: n, of: …}`` stands for n of them."""
        found: list[Any] = []
        for each in written:
            if isinstance(each, dict) and "times" in each:
                for self.index in range(number(each["times"])):
                    found.append(self.filled(each["of"]))
            else:
                found.append(each)
        return found

    def raw(self, written: Any) -> bytes:
        """Bytes of a batch: hex, or ``{parts: [hex, {$…}]}``."""
        if isinstance(written, str):
            return bytes.fromhex(written)
        data = b""
        for part in written["parts"]:
            if isinstance(part, str):
                data += bytes.fromhex(part)
            elif is_form(part):
                data += payload({"payload": part}) or b""
            else:
                data += make_frame(part)
        return data

    def command(self, written: Mapping[str, Any]) -> dict[str, Any]:
        """A command as it travels."""
        [(verb, fields)] = written.items()
        fields = dict(fields or {})
        made: dict[str, Any] = {"command": verb}
        data = payload(fields)
        if data is not None and "part" in fields:
            data = data[slice(*fields["part"])]
        if data is not None:
            made["payload"] = data
        for name, value in fields.items():
            if name in ("value", "arguments", "named", "items", "payload", "part"):
                continue
            if name == "code":
                value = code(value)
            elif name in ("stream", "target", "units") and not isinstance(value, str):
                value = number(value)
            made[name] = value
        return made

    # --- what the runner says --------------------------------------------------------------------

    def emit(self, frames: list[bytes], *, in_request: bool = False) -> None:
        """Send a batch of frames; in what is left of a request it states no position."""
        places = (self.places or self.watch.promoted) and not in_request
        if places and any(frame[1] & 31 >= FIRST_POSITIONED or frame[1] == 0x18 for frame in frames):
            frames = [make_frame({"POSITION": {"position": self.watch.sent_positioned}}), *frames]
        self.emit_batch(head(4, len(frames)) + b"".join(frames))

    def emit_batch(self, batch: bytes) -> None:
        """Send a batch, whatever it is."""
        self.note("→", batch)
        self.watch.said(batch)
        if self.watch.promoted:
            self.ignored |= {"POSITION"}
        self.absorb(self.subject.receive(batch))

    def note(self, arrow: str, batch: bytes) -> None:
        """Write a batch into the log."""
        try:
            shown = "; ".join(show(frame) for frame, _ in read_batch(batch)[0][:20])
        except Exception:  # Whatever it is, its bytes are told.
            shown = "no batch"
        self.log.append(f"{arrow} {shown}  [{batch[:300].hex()}{'…' if len(batch) > 300 else ''}]")

    # --- what the implementation says ------------------------------------------------------------

    def absorb(self, reaction: Reaction) -> None:
        """Judge and keep what came."""
        for batch in reaction.sent:
            self.note("←", batch)
            self.frames += self.watch.heard(batch)
            if self.watch.promoted:
                self.ignored |= {"POSITION"}
        for event in reaction.events:
            self.log.append(f"    event {event}"[:400])
        self.events += reaction.events
        self.closed = reaction.closed

    def take_late(self) -> bool:
        """Wait for what comes late; whether anything did."""
        before = len(self.frames) + len(self.events), self.closed
        self.absorb(self.subject.poll())
        return (len(self.frames) + len(self.events), self.closed) != before

    def next_frame(self, ignored: frozenset[str]) -> Frame | None:
        """The next frame that counts, waited for where that helps."""
        while True:
            while self.frames:
                frame = self.frames.pop(0)
                self.taken.append(frame)
                if frame["frame"] not in ignored:
                    return frame
            if not self.take_late():
                return None

    def unexpected(self) -> Frame | None:
        """The first frame that is left and counts."""
        return next((frame for frame in self.frames if frame["frame"] not in self.ignored), None)

    def expect(self, step: Mapping[str, Any]) -> None:
        """Hold frames against patterns, in their order, or in any."""
        self.taken = []
        try:
            self.expect_frames(self.spread(step["expect"]), bool(step.get("unordered")))
        except Failed as error:
            other = "also" if "also" in step else "or"
            if other not in step:
                raise
            self.frames = self.taken + self.frames
            self.expect_frames(self.spread(step[other]), bool(step.get("unordered")))
            if other == "or":
                self.lenient.append(str(error))

    def expect_frames(self, patterns: list[Any], unordered: bool) -> None:
        """Take as many frames as there are patterns, and then none."""
        named = {next(iter(pattern)) for pattern in patterns}
        ignored = self.ignored - named
        waiting = list(patterns)
        while waiting:
            frame = self.next_frame(ignored)
            if frame is None:
                raise self.failed(f"nothing came where {waiting[0]} was expected")
            fitting = [
                one for one in (waiting if unordered else waiting[:1]) if not differs(one, frame, "frame")
            ]
            if not fitting:
                raise self.failed(f"{show(frame)} came: {differs(waiting[0], frame, 'frame')}")
            waiting.remove(fitting[0])
        if not patterns and self.silent:
            self.alive()
        left = next((frame for frame in self.frames if frame["frame"] not in ignored), None)
        if left and (not patterns or not self.silent):
            raise self.failed(f"{show(left)} came as well")

    def expect_event(self, pattern: Mapping[str, Any], begin: int = 0) -> int:
        """Take the next event of that name and stream, which must fit; returns where the one behind it is."""
        name = next(iter(pattern))
        fields = pattern[name] or {}
        said = "nothing of the kind" if begin == 0 else "it before, or never"
        for at, event in enumerate(self.events):
            other = "stream" in fields and event.get("stream") != named(fields["stream"])
            if at < begin or event["event"] != name or other:
                continue
            difference = differs(pattern, event, "event")
            if difference is None:
                del self.events[at]
                return at
            said = difference
            break
        raise self.failed(f"the application was to learn {pattern}, and learnt {said}")

    def refuse_events(self, patterns: list[Any]) -> None:
        """Nothing like this has been learnt."""
        for pattern in patterns:
            for event in self.events:
                if differs(pattern, event, "event") is None:
                    raise self.failed(f"the application has learnt {event}"[:300])

    def closes(self, codes: Any) -> None:
        """The implementation has closed, and nothing follows."""
        if (
            self.role == "client"
            and not self.case.open
            and self.frames[:1]
            and self.frames[0]["frame"] == "HELLO"
        ):
            # Where the hellos are part of the steps, a client may have said its own at once (TW-NEG-004).
            self.frames.pop(0)
        self.expect_frames([{"CLOSE": {"code": codes}}], False)
        while not self.closed and self.take_late():
            pass
        self.emit([make_frame({"PING": {"number": 1}})])
        if left := self.unexpected():
            raise self.failed(f"{show(left)} came behind a CLOSE")
        if not self.silent:
            self.expect_event({"closed": {"code": codes, "by_peer": False}})
        if not self.closed:
            raise self.failed("the transport stays open behind the CLOSE")

    def alive(self) -> None:
        """Nothing has come, and a PING is answered."""
        if left := self.unexpected():
            raise self.failed(f"{show(left)} came where nothing was expected")
        if self.silent and self.case.exchange:
            return
        self.pings += 1
        self.emit([make_frame({"PING": {"number": self.pings}})])
        frame = self.next_frame(self.ignored)
        if frame is None or frame["frame"] != "PONG" or frame["number"] != self.pings:
            raise self.failed(f"{'nothing' if frame is None else show(frame)} came instead of a PONG")


def declared(steps: Any) -> set[Any]:
    """The kinds of all streams that the runner declares in these steps."""
    kinds: set[Any] = set()
    for step in steps:
        kinds |= declared(step.get("steps", ()))
        for frame in step.get("send", ()):
            content = next(iter(frame.values())) if "times" not in frame else {}
            if isinstance(content, dict):
                kinds |= {each[1] for each in content.get("declare", ()) if len(each) > 1}
    return kinds


def named(stream: Any) -> Any:
    """A stream of a pattern: a name or a number."""
    return stream if isinstance(stream, str) else number(stream)
