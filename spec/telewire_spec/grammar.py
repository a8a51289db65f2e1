"""The grammar of the wire as a judge of bytes: compiled once, and what was judged is remembered."""

from __future__ import annotations

import logging
from functools import cache, lru_cache
from typing import Any

from cddl_verifier import Validator  # type: ignore[import-untyped]  # it has no types

from telewire_spec.rules import grammar_path

__all__ = ["allows"]


@cache
def _validator() -> Any:  # Any: the package has no types.
    logging.getLogger("cddl_verifier").setLevel(logging.CRITICAL)  # It logs each refusal.
    return Validator(grammar_path())


@lru_cache(maxsize=20_000)
def allows(data: bytes, rule: str = "batch") -> bool:
    """Whether the grammar allows these bytes as one item."""
    return bool(_validator().validate(data, root_type=rule).valid)
