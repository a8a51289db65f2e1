"""This implementation as a driver: ``python -m telewire_spec.driver [--carrier NAME]``."""

from __future__ import annotations

import argparse
import sys

from telewire_spec.driver.application import Application
from telewire_spec.driver.carried import CarriedApplication, open_portal
from telewire_spec.driver.carriers import CARRIERS
from telewire_spec.driver.loop import serve

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--carrier", choices=CARRIERS, help="in the place of memory")
    carrier = parser.parse_args().carrier
    if carrier is not None:
        with open_portal() as portal:
            carried = CarriedApplication(portal, carrier)
            serve(carried, sys.stdin.buffer, sys.stdout.buffer)
            carried.close()
    else:
        serve(Application(), sys.stdin.buffer, sys.stdout.buffer)
