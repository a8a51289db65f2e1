"""This implementation as a driver: ``python -m telewire_spec.driver [--carrier websocket]``."""

from __future__ import annotations

import sys

from telewire_spec.driver.application import Application
from telewire_spec.driver.carried import CarriedApplication, open_portal
from telewire_spec.driver.loop import serve

if __name__ == "__main__":
    if sys.argv[1:] == ["--carrier", "websocket"]:
        with open_portal() as portal:
            carried = CarriedApplication(portal)
            serve(carried, sys.stdin.buffer, sys.stdout.buffer)
            carried.close()
    else:
        serve(Application(), sys.stdin.buffer, sys.stdout.buffer)
