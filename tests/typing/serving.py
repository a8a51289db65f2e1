"""Services as they are written: a typed state for each call, its context, and what it owes at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, assert_type

from telewire import Abort, Context, Request, Return, Service, TelewireError, get_context


@dataclass
class State:
    user: str


async def who(request: Request) -> State:
    assert_type(request.headers, Mapping[str, str])
    assert_type(request.peer, str | None)
    assert_type(request.path, str)
    user = request.headers.get("authorization")
    if user is None:
        raise Abort({"status": 401})
    return State(user)


def at_once(request: Request) -> State:
    return State(request.path)


def tell(error: Exception, context: Context[Any]) -> None:
    print(error, context.request.headers)


service = Service(context=who, on_error=tell)
assert_type(service, Service[State])
assert_type(Service(context=at_once), Service[State])
assert_type(Service(), Service[Any])
assert_type(Service(on_error=tell), Service[Any])

closed: list[object] = []


def plain() -> None:
    closed.append("plain")


def with_reason(reason: TelewireError | None) -> None:
    closed.append(reason)


def with_any_reason(reason: BaseException | None = None) -> None:
    closed.append(reason)


async def slowly() -> None:
    closed.append("slowly")


async def slowly_with_reason(reason: TelewireError | None) -> None:
    closed.append(reason)


class Subscription:
    def cancel(self) -> bool:
        return True


@service.function
async def on_subscribe(topic: str) -> AsyncIterator[str]:
    context = service.get_context()
    assert_type(context, Context[State])
    assert_type(context.state, State)
    assert_type(context.state.user, str)
    assert_type(context.metadata, Mapping[str, str])
    assert_type(context.request, Request)
    assert_type(context.time_left, float | None)
    assert_type(context.closed, bool)

    context.on_close(plain)
    context.on_close(with_reason)
    context.on_close(with_any_reason)
    context.on_close(slowly)
    context.on_close(slowly_with_reason)
    context.on_close(Subscription().cancel)
    context.on_close(closed.append)
    context.on_close(closed.clear)
    context.on_close(lambda: closed.append(topic))
    context.on_close(lambda reason: closed.append(reason))
    yield topic
    await context.aclose()
    assert_type(await context.wait_closed(), TelewireError | None)
    raise Return(len(topic))


@service.function(name="topics")
async def on_topics() -> list[str]:
    assert_type(get_context(), Context[Any])
    get_context().on_close(plain)
    return ["news"]


service.add(on_topics, "topics.all")
service.add(name="topics.some", function=on_topics)


async def mistakes() -> None:
    service.get_context().state.name  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    get_context().on_close(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    get_context().on_close(tell)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    get_context().on_close(plain())  # type: ignore[arg-type, func-returns-value]  # pyright: ignore[reportArgumentType]
    Service(context=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    service.function(3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    Service(contxt=who)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
