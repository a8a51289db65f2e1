"""search: a plain `def` streams the rows of a sqlite3 cursor; it is closed when the client has enough."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

import anyio

from telewire import Remote, Service
from telewire_transports import connect, serve

# A million titles, made as they are read: nobody would wait for all of them.
ARTICLES = """
    CREATE VIEW articles (title) AS
    WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 1000000)
    SELECT 'Article ' || x FROM n
"""

service = Service()
sent: list[str] = []  # what the server recorded, to be compared with what arrived
ended: list[str] = []  # which clean-ups have run on the server


@service.function
def on_search(text: str) -> Iterator[str]:
    """Titles that contain ``text``: a plain ``def``, so all of it runs in one thread, as sqlite3 demands."""
    database = sqlite3.connect(":memory:")
    database.execute(ARTICLES)
    try:
        title: str
        for (title,) in database.execute("SELECT title FROM articles WHERE title LIKE ?", (f"%{text}%",)):
            sent.append(title)
            yield title
    finally:
        database.close()  # in any other thread this would raise
        ended.append("the database was closed")


async def client(remote: Remote, show: Callable[[str], object], interval: float = 0.2) -> list[str]:
    """Show the first five hits, then stop reading; returns them."""
    arrived: list[str] = []
    async for title in remote[on_search]("42"):
        arrived.append(title)
        show(title)
        if len(arrived) == 5:
            break  # closes the generator on the server: its finally block runs
        await anyio.sleep(interval)
    return arrived


async def main() -> None:
    """Serve on a free port and call from the same program, over a real socket."""

    async def visit(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/telewire") as remote:
            await client(remote, print)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        await serve(service, port=0, on_started=lambda port: group.start_soon(visit, port))


if __name__ == "__main__":
    anyio.run(main)
