"""Requests of the driver protocol, answered one by one from a subject."""

from __future__ import annotations

from typing import IO, Any

from telewire_spec.driver.framing import read_message, write_message
from telewire_spec.subject import Reaction, Subject, Unsupported

__all__ = ["serve"]

INFO = {
    "name": "telewire",
    "roles": ["client", "server"],
    "needs": ["resume", "exchange", "places", "promotion"],
}


def serve(subject: Subject, source: IO[bytes], target: IO[bytes]) -> None:
    """Answer requests until the runner hangs up."""
    while (request := read_message(source)) is not None:
        verb = request.pop("request")
        if verb == "info":
            carrier = {
                name: getattr(subject, name) for name in ("carrier", "carries") if hasattr(subject, name)
            }
            write_message(target, {**INFO, **carrier})
            continue
        try:
            write_message(target, as_reply(_answer(subject, verb, request)))
        except Unsupported as reason:
            write_message(target, {"unsupported": str(reason)})


# Any: a request and its reply are maps of plain values.
def _answer(subject: Subject, verb: str, request: dict[str, Any]) -> Reaction:
    if verb == "start":
        return subject.start(**request)
    if verb == "receive":
        return subject.receive(request["batch"])
    if verb == "advance":
        return subject.advance(request["seconds"])
    if verb == "cut":
        return subject.cut()
    if verb == "attach":
        return subject.attach()
    if verb == "do":
        return subject.do(request["commands"])
    raise Unsupported(f"the request {verb}")


def as_reply(reaction: Reaction) -> dict[str, Any]:
    """A reaction as the map that travels."""
    return {"sent": reaction.sent, "events": reaction.events, "closed": reaction.closed}
