"""The command ``telewire-spec``, as ``python -m telewire_spec``; says what to install, if need be."""

from __future__ import annotations

import sys

__all__ = ["main"]

OPTIONAL = {"yaml", "cddl_verifier"}


def main() -> None:
    """Run the command; ends the process with its exit status."""
    try:
        from telewire_spec.cli import main as command
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        sys.exit(f"telewire-spec needs {error.name}: pip install 'telewire[spec]' brings it.")
    command(prog_name="telewire-spec")


if __name__ == "__main__":
    main()
