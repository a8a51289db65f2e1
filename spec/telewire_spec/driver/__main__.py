"""This implementation behind the driver protocol: ``python -m telewire_spec.driver``."""

from __future__ import annotations

import sys

from telewire_spec.driver.application import Application
from telewire_spec.driver.loop import serve

if __name__ == "__main__":
    serve(Application(), sys.stdin.buffer, sys.stdout.buffer)
