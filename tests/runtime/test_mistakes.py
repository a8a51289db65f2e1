"""The table of mistakes in CONTRIBUTING: each is made, and gets the sentence that stands there."""

from __future__ import annotations

import builtins
import re
from collections.abc import Collection
from pathlib import Path

import pytest

import telewire
from telewire_transports import connect
from tests.runtime.mistakes import MISTAKES, make_service
from tests.runtime.world import Bugs
from tests.security.serving import serving

CONTRIBUTING = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
HEADING = "## What newcomers get wrong"


def table() -> dict[str, str]:
    """Mistake → what is raised, as the table says it; ``…`` stands for what is different each time."""
    section = CONTRIBUTING.partition(HEADING)[2].partition("\n## ")[0]
    rows = [re.fullmatch(r"\| (.+?) \| (.+) \|", line) for line in section.splitlines()]
    found = [(row[1], row[2]) for row in rows if row is not None]
    return dict(found[1:])


def fits(said: str, pattern: str) -> bool:
    """Whether a sentence is the one of the table."""
    parts = [re.escape(part) for part in pattern.split("…")]
    return re.fullmatch(".*".join(parts), said) is not None


def public_name(raised: type) -> str:
    """What a program catches it as: the first of its classes that is telewire's to tell, or Python's."""
    return next(each.__name__ for each in raised.__mro__ if each.__name__ in known(each))


def known(each: type) -> Collection[str]:
    """The names that users know, of telewire or of Python."""
    return dir(builtins) if each.__module__ == "builtins" else telewire.__all__


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("name", MISTAKES)
async def test_a_mistake_gets_its_sentence(bugs: Bugs, name: str) -> None:
    expected = table()[name]
    async with serving(make_service()) as port:
        url = f"http://127.0.0.1:{port}/telewire"
        async with connect(url) as remote:
            with pytest.raises(Exception) as caught:  # which, the table says
                await MISTAKES[name](remote, url)
    said = f"`{public_name(type(caught.value))}`: {caught.value}".replace(f":{port}", ":8000")
    assert fits(said, expected), said


def test_the_table_has_these_mistakes_and_no_others() -> None:
    assert list(table()) == list(MISTAKES)
    assert len(MISTAKES) >= 20


def test_no_sentence_is_only_a_pattern() -> None:
    for name, sentence in table().items():
        assert len(sentence.replace("…", "")) > 20, name
