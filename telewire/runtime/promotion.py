"""Promotion: how the driver of an exchange goes on as that of a session (TW-SES-081)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, cast

from telewire.runtime.attachment import Attachment

if TYPE_CHECKING:
    from telewire.runtime.driver import Driver
    from telewire.runtime.transport import IncomingExchange, OpenTransport, OutgoingExchange

__all__ = ["SESSION_BYTES", "TOKEN_BYTES", "go_on", "promote"]

SESSION_BYTES: Final = 16
TOKEN_BYTES: Final = 32


def promote(driver: Driver) -> bool:
    """As the server: let the response in flight become the downlink of a session; false where it cannot."""
    exchange = cast("IncomingExchange | None", driver.exchange)
    if exchange is None or not driver.connection.promotable or not exchange.promotes:
        return False
    driver.exchange = None
    driver.attachment = Attachment(driver, exchange, in_request=True)
    downlink = exchange.promote(driver.attachment)
    driver.connection.promote(secrets.token_bytes(SESSION_BYTES), secrets.token_bytes(TOKEN_BYTES), downlink)
    driver.host.opened()
    return True


def go_on(driver: Driver) -> OpenTransport:
    """As the client: end the request, and post from now on; returns what opens the next transport."""
    exchange = cast("OutgoingExchange", driver.exchange)
    driver.exchange = None
    return exchange.promote(driver.connection.downlink, driver.attach)
