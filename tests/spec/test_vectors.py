"""The vectors: well-formed, complete, made from their tables, and as telewire's own codec sees them."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import cbor2
import pytest

from telewire.errors import ErrorCode
from telewire.limits import Limits
from telewire.wire.codec import decode_batch, encode_batch, encode_frame
from telewire.wire.frames import FrameType
from telewire.wire.tags import ALLOWED_TAGS
from telewire_spec.diagnostic import diagnostic
from telewire_spec.judge import judge
from telewire_spec.meaning import Json, ascii_json, value_meaning
from telewire_spec.vectors import FILES, load
from telewire_spec.vectors.build import Vector
from telewire_spec.vectors.generate import TABLES, as_text
from tests.spec.schema import Schema
from tests.test_registries import numbers
from tests.test_spec_ids import known_ids
from tests.wire.test_cddl import allows

FOLDER = Path(__file__).parents[2] / "spec" / "telewire_spec" / "vectors"
SCHEMA = Schema(json.loads((FOLDER / "schema.json").read_text(encoding="utf-8")))
VECTORS = load()

# Limits that the bytes of a batch or value can pass by themselves; the others need a conversation.
ON_THE_WIRE = {
    *("fragment_bytes", "batch_bytes", "batch_frames", "references", "nesting"),
    *("name_bytes", "metadata_bytes", "reason_bytes"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_its_table_makes(name: str) -> None:
    made = (FOLDER / name).read_text(encoding="utf-8")
    assert made == as_text(name), "Run python -m telewire_spec.vectors.generate, and commit what it changed."


@pytest.mark.parametrize("name", FILES)
def test_a_file_fits_the_schema(name: str) -> None:
    document = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    assert SCHEMA.problems(document) == []
    assert set(FILES) == set(TABLES)


# Any: JSON.
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": "nothing"}, "id"),
        ({"hex": "0"}, "hex"),
        ({"rules": []}, "rules"),
        ({"rules": ["TW-" + "FRM-1"]}, "rules"),  # put together, or a test would miss the rule
        ({"kind": "bytes"}, "kind"),
        ({"error": "MALFORMED"}, "fits 2"),
        ({"surprise": 1}, "surprise"),
        ({"limits": {"nesting": -1}}, "limits"),
    ],
)
def test_the_schema_refuses_other_things(change: dict[str, Any], problem: str) -> None:
    document = json.loads((FOLDER / "values.json").read_text(encoding="utf-8"))
    wrong = deepcopy(document["vectors"][0]) | change
    found = SCHEMA.problems({**document, "vectors": [wrong]})
    assert any(problem in each for each in found), found


def test_there_are_many_and_a_third_of_them_are_refused() -> None:
    ids = [vector.id for vector in VECTORS]
    assert len(ids) == len(set(ids)) >= 600
    refused = sum(not vector.accepted for vector in VECTORS)
    assert len(ids) / 3 <= refused <= len(ids) * 3 / 4


def test_the_rules_that_they_quote_exist() -> None:
    quoted = {rule for vector in VECTORS for rule in vector.rules}
    assert quoted <= known_ids()
    # What only a conversation shows, or a transport: the rest of the chapter's first section is here.
    elsewhere = {"TW-FRM-004", "TW-FRM-005", "TW-FRM-007"}
    section = {rule for rule in known_ids() if "TW-FRM-001" <= rule <= "TW-FRM-008"}
    assert section - quoted == elsewhere


def taken(kind: str) -> list[Vector]:
    return [vector for vector in VECTORS if vector.accepted and vector.kind == kind]


def frames_of(vector: Vector) -> list[Any]:
    """The frames of a vector that is taken. Any: JSON."""
    meaning: Any = vector.meaning
    return {"frame": [meaning], "batch": meaning}.get(vector.kind, []) if vector.accepted else []


def test_every_frame_type_and_flag_and_code_stands_in_one_that_is_taken() -> None:
    frames = [frame for vector in VECTORS for frame in frames_of(vector)]
    assert {frame["frame"] for frame in frames} >= {kind.name for kind in FrameType}
    assert {frame.get("flags") for frame in frames} >= {0, 1}
    assert {frame.get("code") for frame in frames} >= set(numbers("errors.csv").values())
    keys = {key for frame in frames for key, _ in frame.get("extensions", ())}
    assert keys >= set(numbers("extension_keys.csv").values())
    declared = {each[1] for frame in frames for each in frame.get("declarations", ())}
    assert declared == {1, 2, 3, 4, 5}


def test_each_flag_that_needs_a_feature_is_refused() -> None:
    assert {vector.id for vector in VECTORS if vector.error == "UNSUPPORTED"} >= {
        f"frame/{frame}/flags-{flags}" for frame in ("call", "end", "item", "chunk") for flags in (2, 4, 6)
    }


def test_every_tag_is_taken_somewhere_and_refused_somewhere() -> None:
    for number in ALLOWED_TAGS:
        head = cbor2.dumps(cbor2.CBORTag(number, None))[:-1]
        for accepted in (True, False):
            found = [
                v for v in VECTORS if v.accepted is accepted and v.kind == "value" and v.data.startswith(head)
            ]
            assert found, f"No value under tag {number} is {'taken' if accepted else 'refused'}."


def test_every_limit_of_the_wire_is_met_at_its_bound_and_passed() -> None:
    for name in ON_THE_WIRE:
        for accepted in (True, False):
            assert any(name in v.limits and v.accepted is accepted for v in VECTORS), name
    codes = {vector.error for vector in VECTORS if not vector.accepted}
    assert codes == {
        *("MALFORMED", "NESTING_TOO_DEEP", "DUPLICATE_KEY", "FORBIDDEN_TAG", "BATCH_TOO_LARGE"),
        *("INVALID_FRAME", "LIMIT_EXCEEDED", "UNSUPPORTED", "MALFORMED_VALUE"),
    }
    assert codes <= set(ErrorCode.__members__)


@pytest.mark.parametrize("kind", ["batch", "frame", "value", "items", "stream"])
def test_our_codec_agrees(kind: str) -> None:
    wrong = []
    for vector in VECTORS:
        if vector.kind != kind:
            continue
        verdict = judge(vector.case)
        if vector.accepted:
            right = verdict == {"meaning": vector.meaning}
        else:
            right = verdict.get("error") in {vector.reason or vector.error, *vector.others}
        if not right:
            wrong.append(f"{vector.id}: {verdict}")
    assert wrong == []


def test_what_is_taken_is_as_the_cddl_says() -> None:
    rules = {"frame": "batch", "batch": "batch", "value": "value", "items": "value-group"}
    checked = 0
    for vector in VECTORS:
        # The validator tries every alternative at every level, so what is deep or long is left out;
        # and for it one NaN is the same key as another.
        if not vector.accepted or vector.kind not in rules or len(vector.data) > 300:
            continue
        if "depth" in vector.id or "256" in vector.id or vector.id == "value/key/other/nan":
            continue
        data = b"\x81" + vector.data if vector.kind == "frame" else vector.data
        assert allows(data, rules[vector.kind]), vector.id
        checked += 1
    assert checked > 500


def test_frames_that_are_taken_encode_to_the_same_meaning() -> None:
    for vector in (*taken("batch"), *taken("frame")):
        data = vector.data if vector.kind == "batch" else b"\x81" + vector.data
        limits = Limits(**vector.limits)
        frames = decode_batch(data, limits)
        again = encode_batch([encode_frame(frame) for frame in frames])
        assert len(again) <= len(data), vector.id
        without = [frame for frame in frames if getattr(frame, "extensions", None) == {}]
        # A sender leaves an empty map out, and a NaN is equal to nothing.
        if not without and b"\xf9\x7e\x00" not in again:
            assert decode_batch(again, limits) == frames, vector.id
        assert encode_batch([encode_frame(frame) for frame in decode_batch(again, limits)]) == again


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("00", "0"),
        ("1800", "0_0"),
        ("3b0000000000000000", "-1_3"),
        ("9a0000000101", "[_2 1]"),
        ("b90001616101", '{_1 "a": 1}'),
        ("d81e820103", "30([1, 3])"),
        ("db000000000000000041ff", "0_3(h'ff')"),
        ("7800", '""_0'),
        ("84f4f5f6f7", "[false, true, null, undefined]"),
        ("82e0f8ff", "[simple(0), simple(255)]"),
        ("85f93e00fa3fc00000fb3ff8000000000000f97e00f9fc00", "[1.5_1, 1.5_2, 1.5_3, NaN_1, -Infinity_1]"),
        ("", None),
        ("0000", None),
        ("9fff", None),
        ("61ff", None),
        ("f814", None),
        ("42ff", None),
        ("18", None),
        ("81" * 200 + "00", None),
        ("58ff" + "00" * 5000, None),
    ],
)
def test_diagnostic_notation(data: str, text: str | None) -> None:
    assert diagnostic(bytes.fromhex(data)) == text


def test_a_meaning_is_of_what_payloads_hold() -> None:
    assert value_meaning({(1, "ä"): {3, 1 << 70}}) == {
        "map": [[[1, "ä"], {"set": [3, {"int": hex(1 << 70)}]}]]
    }
    said: Json = {"a": ["ä"]}
    assert ascii_json(said) == '{"a":["\\u00e4"]}'
    with pytest.raises(TypeError, match="A complex is no value"):
        value_meaning(1j)
