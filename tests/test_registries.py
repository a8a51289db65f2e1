"""The registries of the spec and the code that uses their numbers agree."""

from __future__ import annotations

import csv
from dataclasses import fields
from pathlib import Path

import pytest

from telewire import errors
from telewire.errors import ErrorCode
from telewire.limits import ADVERTISED, Limits
from telewire.wire import frames as f
from telewire.wire import tags

REGISTRIES = Path(__file__).parents[1] / "spec" / "registries"

HEADERS = {
    "errors.csv": "number,name,scope,retryable,meaning",
    "extension_keys.csv": "number,name,type,frames,meaning",
    "features.csv": "number,name,meaning",
    "frames.csv": "number,name,positioned,scope,meaning",
    "kinds.csv": "number,name,numbered,meaning",
    "limits.csv": "number,name,default,unit,attack",
    "tags.csv": "number,name,content,meaning",
}


def rows(name: str) -> list[dict[str, str]]:
    """The rows of one registry."""
    with (REGISTRIES / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def numbers(name: str) -> dict[str, int]:
    """Name → number of one registry."""
    return {row["name"]: int(row["number"]) for row in rows(name)}


def test_every_registry_is_listed() -> None:
    assert {path.name for path in REGISTRIES.iterdir()} == set(HEADERS)


@pytest.mark.parametrize(("name", "header"), HEADERS.items())
def test_a_registry_is_well_formed(name: str, header: str) -> None:
    assert (REGISTRIES / name).read_text(encoding="utf-8").splitlines()[0] == header
    columns = set(header.split(","))
    for row in rows(name):
        assert set(row) == columns
        assert all(row.values()), f"A cell is empty: {row}."
    order = [int(row["number"]) for row in rows(name)]
    assert order == sorted(set(order))
    assert len(numbers(name)) == len(order), "A name stands twice."


def test_errors() -> None:
    assert numbers("errors.csv") == {code.name: code.value for code in ErrorCode}
    for row in rows("errors.csv"):
        assert row["scope"] in ("stream", "connection", "any")
        assert row["retryable"] in ("yes", "no")
        assert int(row["number"]) < 32 or row["retryable"] == "no"


def test_retryable_codes_are_those_of_retryable_exceptions() -> None:
    retryable = {row["name"] for row in rows("errors.csv") if row["retryable"] == "yes"}
    # A cancelled call that never started, one behind a GOAWAY and one that a full peer refused share
    # their classes with failures that are none of these.
    expected = {"NOT_STARTED", "GOING_AWAY", "RESOURCE_EXHAUSTED"}
    for code in ErrorCode:
        name = "".join(word.capitalize() for word in code.name.split("_"))
        if getattr(getattr(errors, name, None), "retryable", False):
            expected.add(code.name)
    assert retryable == expected
    assert len(expected) == 6


def test_frames() -> None:
    assert numbers("frames.csv") == {kind.name: kind.value for kind in f.FrameType}
    classes = {frame.__name__.upper(): frame for frame in f.Frame.__args__}
    for row in rows("frames.csv"):
        assert (row["positioned"] == "yes") is (int(row["number"]) >= 16)
        has_stream = "stream" in {field.name for field in fields(classes[row["name"]])}
        assert (row["scope"] == "stream") is has_stream


def test_kinds() -> None:
    assert numbers("kinds.csv") == {kind.name: kind.value for kind in f.Kind}
    numbered = {int(row["number"]) for row in rows("kinds.csv") if row["numbered"] == "yes"}
    assert numbered == {f.Kind.FUNCTION, f.Kind.CHANNEL}


def test_limits() -> None:
    assert numbers("limits.csv") == {name: number for number, name in ADVERTISED.items()}
    for row in rows("limits.csv"):
        assert int(row["default"]) == getattr(Limits(), row["name"])


def test_extension_keys() -> None:
    constants = {
        name.removeprefix("KEY_").lower(): value for name, value in vars(f).items() if name.startswith("KEY_")
    }
    assert numbers("extension_keys.csv") == constants


def test_tags() -> None:
    constants = {
        name.removeprefix("TAG_"): value for name, value in vars(tags).items() if name.startswith("TAG_")
    }
    assert numbers("tags.csv") == constants
    assert set(constants.values()) == tags.ALLOWED_TAGS


def test_features() -> None:
    assert numbers("features.csv") == {"resume": 1}
