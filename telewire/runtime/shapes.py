"""Shape, the compiled form of an annotation, and Converter, which applies one to values.

A shape walks a value once and either returns it converted or raises :class:`Misfit`, which carries
the path, the expected type and the name of the received type, and nothing else: no text of a
validator and no part of a value can leave through it. The same walk serves both directions
(:class:`Mode`): an object of ours on its way out is accepted where its wire form would be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, final

from telewire.errors import InvalidArgument

__all__ = ["ANYTHING", "INCOMING", "OUTGOING", "Converter", "Convertible", "Misfit", "Mode", "Shape"]


@final
class Misfit(Exception):
    """A value does not fit; ``steps`` leads to the place, innermost step first."""

    def __init__(self, expected: str, got: str, steps: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.expected = expected
        self.got = got
        self.steps = list(steps)


# What a union remembers of a failed trial: expected, got, steps.
Failure = tuple[str, str, tuple[str, ...]]


@final
class Mode:
    """How a walk goes.

    ``outgoing``: the value is this side's own, so coroutines, generators and functions stand where
    handles are annotated. ``exact``: within a union, first tried without widening an int to a float
    and without dropping unknown keys, so that each value finds the branch it was made for.
    ``failed`` remembers failed trials: nested unions stay polynomial whatever the peer sends.
    """

    __slots__ = ("exact", "failed", "outgoing")

    def __init__(
        self, outgoing: bool, exact: bool = False, failed: dict[tuple[int, int, bool], Failure] | None = None
    ) -> None:
        self.outgoing = outgoing
        self.exact = exact
        self.failed = failed


INCOMING = Mode(outgoing=False)
OUTGOING = Mode(outgoing=True)


class Shape(ABC):
    """What an annotation asks of a value.

    ``scalar`` is the type whose exact instances fit unchanged (None: there is none), ``identity``
    is true where everything fits unchanged, ``takes_scalars`` where a value of a builtin scalar type
    might fit although ``scalar`` does not say so.
    """

    scalar: type | None = None
    identity: bool = False
    takes_scalars: bool = True

    def __init__(self, expected: str) -> None:
        self.expected = expected

    @abstractmethod
    def apply(self, value: object, mode: Mode) -> object:
        """Return ``value`` converted; raises :class:`Misfit`.

        A method: CPython takes a tenth of a microsecond longer to call an object.
        """

    def misfit(self, value: object) -> Misfit:
        """The refusal of ``value`` as a whole."""
        return Misfit(self.expected, type(value).__name__)


@final
class _AnythingShape(Shape):
    identity = True

    def apply(self, value: object, mode: Mode) -> object:
        return value


ANYTHING: Shape = _AnythingShape("Any")


class Convertible(ABC):
    """Base of the handles that values can hold, and of the annotations that stand for them.

    ``kind`` is one of ``"iterator"``, ``"promise"``, ``"function"``, ``"bytes"`` and ``"channel"``.
    The type arguments of an annotated subclass name what it carries: ``Remote[T]`` items or a result,
    ``Function[P, R]`` a result (the last argument), ``Channel[In, Out]`` messages received and sent.
    """

    __slots__ = ()

    kind: ClassVar[str]

    @abstractmethod
    def set_item_converter(self, converter: Converter) -> None:
        """Convert each item, result or message with ``converter`` as it arrives.

        Called before the handle reaches user code; not called where everything fits.
        """

    # Empty on purpose: most references say nothing more.
    def describe(self, details: Mapping[str, object]) -> None:  # noqa: B027
        """Take what the reference says about the stream, such as a name; keys of ``DETAILS`` are checked."""

    # Empty on purpose: channels alone have a second direction, and override it.
    def set_outgoing_converter(self, converter: Converter) -> None:  # noqa: B027
        """Check each message that this end sends with ``converter.check``."""


@final
class Converter:
    """Converts and checks values of one annotation; get one from ``converter_for``.

    ``identity`` is true where everything fits and both methods may be left out.
    """

    __slots__ = ("_scalar", "_shape", "identity")

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._scalar = shape.scalar
        self.identity = shape.identity

    def __repr__(self) -> str:
        return f"<Converter to {self._shape.expected}>"

    @property
    def expected(self) -> str:
        """The annotation, as messages show it."""
        return self._shape.expected

    @property
    def shape(self) -> Shape:
        """The compiled annotation, for shapes that contain this one."""
        return self._shape

    def convert(self, value: object, place: str) -> object:
        """Return ``value``, just decoded, as what the annotation asks for.

        ``place`` begins the message, such as ``on_join(team_id)`` or ``on_feed() item``; the path
        inside the value is added to it. Containers may be converted in place.

        Raises:
            InvalidArgument: the value does not fit. The message names the place, the expected and the
                received type, never anything of the value.
        """
        if self.identity or type(value) is self._scalar:
            return value
        try:
            return self._shape.apply(value, INCOMING)
        except Misfit as misfit:
            message = compose(misfit, place)
        except RecursionError:
            message = compose(Misfit(self.expected, "a value nested too deeply"), place)
        # Raised out here so that the error has no context whose text could be shown.
        raise InvalidArgument(message)

    def check(self, value: object, place: str) -> None:
        """See that ``value``, about to be sent, fits the annotation of the side that sends it.

        What fits is what the other side would accept under the same annotation: containers are
        walked, a dict is accepted for a record if its entries fit. An *instance* of an annotated
        record class is taken as it is, its fields unseen, because building the wire form of each
        item twice would cost more than sending it; the receiver checks them. Where handles are
        annotated, coroutines, generators, iterators and functions are accepted, and nothing is
        consumed, started or changed.

        Raises:
            InvalidArgument: as for :meth:`convert`.
        """
        if self.identity or type(value) is self._scalar:
            return
        try:
            self._shape.apply(value, OUTGOING)
            return
        except Misfit as misfit:
            message = compose(misfit, place)
        except RecursionError:
            message = compose(Misfit(self.expected, "a value nested too deeply"), place)
        raise InvalidArgument(message)


def compose(misfit: Misfit, place: str) -> str:
    """The sentence of a misfit; the path goes inside the parentheses where ``place`` names a parameter."""
    path = "".join(reversed(misfit.steps))
    if place.endswith(")") and not place.endswith("()"):
        place = f"{place[:-1]}{path})"
    else:
        place += path
    return f"{place}: expected {misfit.expected}, got {misfit.got}"
