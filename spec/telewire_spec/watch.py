"""Watch: rules that every frame of an implementation obeys, whatever a scenario expects of it.

It sees both directions and keeps a ledger of its own; a rule broken is a :class:`Broken`, with its id, and
what departs from a SHOULD is noted in :attr:`Watch.departures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import cbor2

from telewire_spec.grammar import allows
from telewire_spec.layout import (
    LIMITS,
    NAMES,
    Frame,
    limit_numbers,
    read_batch,
)
from telewire_spec.watch_streams import Broken, Streams

__all__ = ["DEFAULTS", "Broken", "Watch"]

DEFAULTS: Final[dict[str, int]] = {
    **{"fragment_bytes": 65536, "batch_bytes": 262144, "message_bytes": 1 << 24, "stream_window": 65536},
    **{"open_calls": 1000, "open_streams": 10000, "credited_streams": 1000, "references": 1000},
    **{"argument_bytes": 1 << 26, "replay_bytes": 1 << 26, "nesting": 64, "name_bytes": 1024},
    **{"metadata_bytes": 8192, "reason_bytes": 16384, "batch_frames": 16384, "item_cost": 256},
}
"""What a limit is that a hello does not state (TW-NEG-041)."""
assert len(DEFAULTS) == LIMITS.count(",")

LEAST: Final = {"fragment_bytes": 1024, "message_bytes": 1024, "stream_window": 1024, "batch_frames": 1}
GREASE: Final = range(65280, 65536)
FIRST_POSITIONED: Final = 16
DOWNLINK: Final = 20
"""The extension key of a second HELLO."""
SECRET: Final = "the-secret"
"""What scenarios put into names and values that no text of the implementation may repeat."""


class Watch:
    """What has been said so far, and what may be said next.

    Args:
        role: of the implementation.
        limits: of the runner, which bind what the implementation sends.
        exchange: the conversation is an exchange, so that there is no credit.
        at_once: an answer comes before the next frame of the runner is sent, so nothing crosses.
        places: the carrier may repeat or reorder, so that batches state their positions.
    """

    def __init__(
        self,
        role: str,
        limits: Mapping[str, int],
        *,
        exchange: bool = False,
        at_once: bool = True,
        places: bool = False,
    ) -> None:
        self.role = role
        self.limits = {**DEFAULTS, **limits}
        self.exchange = exchange
        self.places = places
        # An exchange that was promoted; and up to which position its client may post only what has none.
        self.promoted = False
        self.gate = 0
        self.departures: list[str] = []
        self.hello: Frame | None = None
        self.heard_hello = False
        self.first = True
        self.closed = False
        self.resumed = False
        self.features: set[int] = set()
        self.streams = Streams(self.limits, unlimited=exchange, at_once=at_once)
        # Positioned frames: of the implementation with their bytes, and how many the runner has sent.
        self.positioned: list[bytes] = []
        self.acknowledged = 0
        self.replay: int | None = None
        self.wanted = 0
        self.sent_positioned = 0
        self.last_ack = 0
        self.pings: list[int] = []
        self.own_pings = 0
        self.goaway: int | None = None
        self.offers_resume = False

    # --- what the runner sends -------------------------------------------------------------------

    def said(self, batch: bytes) -> None:
        """Note a batch of the runner's; one that the grammar does not allow has no effect."""
        if not batch or not allows(batch):
            return
        frames, _ = read_batch(batch)
        for frame, _ in frames:
            name = frame["frame"]
            if name == "HELLO" and self.exchange and self.heard_hello:
                self._promoted()
            elif name == "HELLO":
                self.heard_hello = True
                self._agree(frame)
            elif name in ("RESUME", "RESUMED"):
                self.wanted = min(int(frame["received"]), len(self.positioned))
                self.heard_hello = True
                if name == "RESUMED":
                    self.replay = self.wanted
            elif name == "PING":
                self.pings.append(frame["number"])
            elif name == "PONG":
                self.own_pings = max(0, self.own_pings - 1)
            elif name == "ACK":
                self.acknowledged = max(self.acknowledged, frame["received"])
            if type_of(frame) >= FIRST_POSITIONED:
                self.sent_positioned += 1
            self.streams.said(frame)

    def _agree(self, frame: Frame) -> None:
        self.offers_resume = 1 in frame.get("features", ())
        if self.hello is not None and self.offers_resume and 1 in self.hello["features"]:
            self.features.add(1)

    def _promoted(self) -> None:
        """Note that the exchange goes on as a session (TW-SES-083)."""
        self.exchange = False
        self.promoted = self.places = True
        self.gate = len(self.positioned) if self.role == "client" else 0
        self.streams.count_anew()

    def lost(self) -> None:
        """Note that the transport is gone: the next one begins with a first frame."""
        self.first = True
        self.closed = False
        self.pings.clear()
        self.own_pings = 0

    # --- what the implementation sends -----------------------------------------------------------

    def heard(self, batch: bytes) -> list[Frame]:
        """Judge a batch of the implementation's; returns its frames.

        Raises:
            Broken: a rule is broken.
        """
        if len(batch) > self.limits["batch_bytes"]:
            raise Broken("TW-FRM-002", f"A batch has {len(batch)} bytes.")
        if not allows(batch):
            raise Broken("TW-FRM-023", f"The grammar does not allow the batch {batch[:200].hex()}.")
        frames, deterministic = read_batch(batch)
        if not deterministic:
            raise Broken("TW-FRM-020", f"The batch {batch[:200].hex()} is not encoded deterministically.")
        if len(frames) > self.limits["batch_frames"]:
            raise Broken("TW-FRM-002", f"A batch has {len(frames)} frames.")
        placed = [type_of(frame) for frame, _ in frames if frame["frame"] != "CLOSE"]
        if (
            self.places
            and any(kind >= FIRST_POSITIONED for kind in placed)
            and placed[0] != NAMES["POSITION"]
        ):
            raise Broken("TW-SES-050", "A batch with positioned frames does not begin with POSITION.")
        before = self.promoted
        for frame, data in frames:
            self._judge(frame, data)
        if self.promoted and not before and any(kind >= FIRST_POSITIONED for kind in placed):
            raise Broken("TW-SES-082", "A positioned frame is in the batch of the second HELLO.")
        return [frame for frame, _ in frames]

    def _judge(self, frame: Frame, data: bytes) -> None:
        name = frame["frame"]
        if name == "POSITION" and self.places:
            # It belongs to its batch, and may stand ahead of the first frame.
            self._sign(frame)
            return
        if self.closed:
            raise Broken("TW-ERR-050", f"{name} follows a CLOSE.")
        if self.first and name not in ("HELLO", "RESUME", "CLOSE"):
            raise Broken("TW-NEG-002", f"The first frame is {name}.")
        if name == "HELLO" and not self.first and self._promotes(frame):
            self.hello = frame
            self._promoted()
        elif name == "HELLO" and not self.first and not (self.role == "client" and self.resumed):
            raise Broken("TW-NEG-002", "A second HELLO came.")
        if not self.heard_hello and not self.exchange and name not in ("HELLO", "RESUME", "CLOSE"):
            raise Broken("TW-NEG-004", f"{name} came before the runner's HELLO.")
        self.first = False
        if "extensions" in frame:
            self._extensions(frame, data)
        if type_of(frame) >= FIRST_POSITIONED:
            if not self._positioned(name, data):
                return
            self._position_free(frame)
            self.streams.heard(frame)
        else:
            self._sign(frame)

    def _promotes(self, frame: Frame) -> bool:
        """Whether a second HELLO promotes an exchange: where it may, it must be whole."""
        if not self.exchange or self.role == "client" or self.features != {1}:
            return False
        if 1 not in frame["features"] or frame["session"] is None:
            raise Broken("TW-SES-082", "A second HELLO offers no session.")
        if not isinstance(frame.get("extensions", {}).get(DOWNLINK), str):
            raise Broken("TW-SES-082", "A second HELLO does not name the downlink.")
        return True

    def _extensions(self, frame: Frame, data: bytes) -> None:
        if not frame["extensions"]:
            self.departures.append("TW-FRM-070: an empty extension map was sent.")
        size = len(cbor2.dumps(frame["extensions"]))
        if size > self.limits["metadata_bytes"]:
            raise Broken("TW-FRM-073", f"An extension map has {size} bytes.")

    def _positioned(self, name: str, data: bytes) -> bool:
        """Count a positioned frame; false where it is one that is replayed."""
        if self.replay is not None and self.replay < len(self.positioned):
            if data != self.positioned[self.replay] and name != "CLOSE":
                raise Broken(
                    "TW-SES-022",
                    f"{name} leaves where the frame of position {self.replay} is to be replayed.",
                )
            self.replay += 1
            if name == "CLOSE":
                self.closed = True
            return False
        if name == "CLOSE":
            return True
        if self.acknowledged < self.gate:
            raise Broken("TW-SES-084", f"{name} is posted before the request was acknowledged.")
        self.positioned.append(data)
        if 1 in self.features and self.hello is not None:
            kept = self.hello["limits"].get(9, DEFAULTS["replay_bytes"])
            waiting = sum(map(len, self.positioned[self.acknowledged :]))
            if waiting > kept:
                raise Broken("TW-SES-021", f"{waiting} bytes are unacknowledged, and {kept} were stated.")
        return True

    def _position_free(self, frame: Frame) -> None:
        """GOAWAY and CLOSE, which no stream has."""
        name = frame["frame"]
        if name not in ("GOAWAY", "CLOSE"):
            return
        if len(frame["text"].encode()) > self.limits["reason_bytes"]:
            raise Broken("TW-FRM-051", f"The text of a {name} has more than reason_bytes.")
        if SECRET in frame["text"]:
            raise Broken("TW-ERR-045", f"The text of a {name} tells what the runner had sent.")
        code = frame["code"]
        if not (code >= 32 or code in ((0, 11) if name == "GOAWAY" else (0, 11, 14, 16))):
            raise Broken("TW-ERR-001", f"A {name} has the code {code}.")
        if name == "CLOSE":
            self.closed = True
        elif self.goaway is not None and frame["calls"] > self.goaway:
            raise Broken("TW-ERR-062", f"A GOAWAY states {frame['calls']} after {self.goaway}.")
        else:
            self.goaway = frame["calls"]

    def _sign(self, frame: Frame) -> None:
        """Frames without a position."""
        name = frame["frame"]
        if name == "HELLO":
            self._hello(frame)
        elif name == "RESUME" and self.role == "server":
            raise Broken("TW-SES-031", "A server sent RESUME.")
        elif name == "RESUME":
            self.resumed = True
        elif name == "RESUMED" and self.role == "client":
            raise Broken("TW-SES-036", "A client sent RESUMED.")
        elif name == "RESUMED":
            self.replay = self.wanted
        elif name == "PONG":
            if frame["number"] == 0 and 0 not in self.pings:
                # A sign of life, which answers nothing (TW-NEG-066).
                return
            if not self.pings or self.pings.pop(0) != frame["number"]:
                raise Broken("TW-NEG-062", f"PONG {frame['number']} answers no PING, or not in order.")
        elif name == "PING":
            self.own_pings += 1
            if self.own_pings > 4 and not self.exchange:
                raise Broken("TW-NEG-063", "A fifth PING waits for its PONG.")
        elif name == "ACK":
            if self.exchange and 1 in self.features:
                raise Broken("TW-SES-081", "ACK came in an exchange that was not promoted.")
            if 1 not in self.features:
                raise Broken("TW-NEG-031", "ACK came although feature 1 is not in effect.")
            if frame["received"] > self.sent_positioned:
                raise Broken(
                    "TW-SES-010", f"ACK states {frame['received']}, and {self.sent_positioned} were sent."
                )
        elif name == "POSITION" and self.places:
            replays = self.replay is not None and self.replay < len(self.positioned)
            expected = self.replay if replays else len(self.positioned)
            # Ahead of a HELLO it stands for nothing.
            if frame["position"] != expected and not self.first:
                raise Broken(
                    "TW-SES-050", f"POSITION states {frame['position']}, and {expected} is the next one."
                )
        elif name == "POSITION":
            raise Broken("TW-SES-050", "POSITION came on a carrier that neither retries nor reorders.")

    def _hello(self, frame: Frame) -> None:
        if frame["version_min"] > frame["version_max"]:
            raise Broken("TW-NEG-020", "version_min is above version_max.")
        if (frame["version_min"], frame["version_max"]) != (1, 1):
            raise Broken("TW-NEG-021", "The versions stated are not 1 and 1.")
        if set(frame["features"]) - {1} - set(GREASE):
            raise Broken("TW-NEG-032", f"The features {frame['features']} are listed.")
        session, token = frame["session"], frame["token"]
        if self.role == "client" and session is not None:
            raise Broken("TW-NEG-011", "A client states a session.")
        if self.exchange and session is not None:
            raise Broken("TW-SES-070", "A session is stated in an exchange.")
        if self.role == "server" and 1 in frame["features"] and session is None and not self.exchange:
            raise Broken("TW-NEG-012", "A server offers resume and states no session.")
        if max(len(session or b""), len(token or b"")) > 64:
            raise Broken("TW-NEG-011", "Session or token have more than 64 bytes.")
        if token is not None and len(token) < 16:
            self.departures.append("TW-NEG-012: the token has less than 16 bytes.")
        stated = {name: frame["limits"].get(key, DEFAULTS[name]) for name, key in limit_numbers().items()}
        least = {**LEAST, "batch_bytes": stated["fragment_bytes"] + 1024}
        low = [name for name, value in least.items() if stated[name] < value]
        if low or not 1 <= stated["item_cost"] <= stated["stream_window"] // 4:
            raise Broken("TW-LIM-003", f"Limits are stated out of their bounds: {low or ['item_cost']}.")
        if self.hello is None:
            self.hello = frame
            if self.offers_resume and 1 in frame["features"]:
                self.features.add(1)


def type_of(frame: Frame) -> int:
    """The number of a frame's type, known or not."""
    return NAMES[frame["frame"]] if frame["frame"] in NAMES else int(frame["type"])
