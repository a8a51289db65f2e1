"""For tests of what is built on telewire: functions alone, transports against their contract, bad networks.

``call_context`` lets a function be tested alone. ``check_transport`` proves an adapter right. ``Network``
carries the bytes of pure connections in virtual time, and delays, splits, cuts and swallows them as a seed
says. ``values``, ``payloads``, ``frames`` and ``batches`` are Hypothesis strategies for what travels; they
need Hypothesis.
``telewire.testing.pair`` has two state machines in virtual time, ``telewire.testing.relay`` a network
that holds and cuts. Each is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from telewire.testing.contexts import CallContext, call_context
    from telewire.testing.network import Host, Link, Network, Peer
    from telewire.testing.strategies import batches, frames, payloads, values
    from telewire.testing.transports import Recorder, TransportPair, check_transport

__all__ = [
    "CallContext",
    "Host",
    "Link",
    "Network",
    "Peer",
    "Recorder",
    "TransportPair",
    "batches",
    "call_context",
    "check_transport",
    "frames",
    "payloads",
    "values",
]

_LAZY: Final = {
    "CallContext": "telewire.testing.contexts",
    "Host": "telewire.testing.network",
    "Link": "telewire.testing.network",
    "Network": "telewire.testing.network",
    "Peer": "telewire.testing.network",
    "Recorder": "telewire.testing.transports",
    "TransportPair": "telewire.testing.transports",
    "batches": "telewire.testing.strategies",
    "call_context": "telewire.testing.contexts",
    "check_transport": "telewire.testing.transports",
    "frames": "telewire.testing.strategies",
    "payloads": "telewire.testing.strategies",
    "values": "telewire.testing.strategies",
}


def _load(name: str) -> object:
    """Load a public name from its module: who tests the state machine alone needs no event loop."""
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)


# Hidden from type checkers, which know all names from above: with it, no misspelt one would be an error.
if not TYPE_CHECKING:
    __getattr__ = _load
