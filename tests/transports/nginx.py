"""nginx as most people run it, in front of servers on this machine: for tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["FOUND", "UPGRADE", "nginx_before", "nginx_of"]

FOUND = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

_CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    {sites}
}}
"""
_SITES = """
    upstream servers {{ {balance} {servers} }}
    server {{
        listen 127.0.0.1:{port};
        location /telewire {{ proxy_pass http://servers; {more} }}
    }}
"""
UPGRADE = (
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
)
"""What has to be said to nginx for a WebSocket, and for nothing else."""


@contextmanager
def nginx_before(place: Path, ports: Sequence[int], more: str = "", balance: str = "") -> Iterator[int]:
    """Run nginx with its defaults, and ``more``, before servers; gives its port."""
    servers = " ".join(f"server 127.0.0.1:{each};" for each in ports)
    with nginx_of(
        place, lambda port: _SITES.format(port=port, servers=servers, more=more, balance=balance)
    ) as port:
        yield port


@contextmanager
def nginx_of(place: Path, sites: Callable[[int], str]) -> Iterator[int]:
    """Run nginx with its defaults and the sites that are made for its port; gives that."""
    assert FOUND is not None, "nginx is missing: install the package nginx, or let make test do it"
    for attempt in range(5):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        text = _CONFIGURATION.format(
            place=place,
            user="user root;" if os.geteuid() == 0 else "",
            sites=sites(port),
        )
        configuration = place / f"nginx{attempt}.conf"
        configuration.write_text(text)
        process = subprocess.Popen([FOUND, "-p", str(place), "-c", str(configuration)])
        try:
            if _listens(process, port):
                yield port
                return
        finally:
            process.terminate()
            process.wait(20)
    raise AssertionError(f"nginx does not start: {(place / 'error.log').read_text()}")


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except ConnectionRefusedError:
            continue
        return True
    return False
