"""``python -m telewire`` and ``telewire``: the command line of :mod:`telewire.cli`."""

from __future__ import annotations

from telewire.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main(prog_name="telewire")
