"""As much of JSON Schema as the schemas of vectors and scenarios use; any other keyword is refused."""

from __future__ import annotations

import re
from typing import Any

# Any, throughout: JSON.
TYPES: dict[str, Any] = {
    **{"object": dict, "array": list, "string": str, "integer": int, "null": type(None)},
    "number": (int, float),
}
EXPLAIN = {"title", "description", "$schema", "$defs"}


def is_type(value: Any, name: str) -> bool:
    return isinstance(value, TYPES[name]) and not (name == "integer" and isinstance(value, bool))


class Schema:
    """A schema that finds what is wrong with a document."""

    def __init__(self, whole: dict[str, Any]) -> None:
        self.whole = whole

    def problems(self, value: Any) -> list[str]:
        return self.check(value, self.whole, "$")

    def check(self, value: Any, schema: dict[str, Any], place: str) -> list[str]:
        if "type" in schema and (wrong := self.check_type(value, schema["type"], place, schema)):
            return wrong
        found: list[str] = []
        for keyword, rule in schema.items():
            if keyword in EXPLAIN or keyword == "properties":
                continue
            found += getattr(self, "check_" + keyword.removeprefix("$"))(value, rule, place, schema)
        for name, inner in schema.get("properties", {}).items():
            if isinstance(value, dict) and name in value:
                found += self.check(value[name], inner, f"{place}.{name}")
        return found

    def check_ref(self, value: Any, rule: str, place: str, schema: Any) -> list[str]:
        return self.check(value, self.whole["$defs"][rule.removeprefix("#/$defs/")], place)

    def check_type(self, value: Any, rule: str | list[str], place: str, schema: Any) -> list[str]:
        names = [rule] if isinstance(rule, str) else rule
        return [] if any(is_type(value, name) for name in names) else [f"{place} is no {rule}"]

    def check_required(self, value: Any, rule: list[str], place: str, schema: Any) -> list[str]:
        return [f"{place} has no {name}" for name in rule if name not in value]

    def check_additionalProperties(self, value: Any, rule: Any, place: str, schema: Any) -> list[str]:
        others = set(value) - set(schema.get("properties", {}))
        if rule is False:
            return [f"{place} has {name}" for name in sorted(others)]
        return [found for name in others for found in self.check(value[name], rule, f"{place}.{name}")]

    def check_items(self, value: Any, rule: Any, place: str, schema: Any) -> list[str]:
        return [
            found for index, each in enumerate(value) for found in self.check(each, rule, f"{place}[{index}]")
        ]

    def check_oneOf(self, value: Any, rule: list[Any], place: str, schema: Any) -> list[str]:
        fitting = [one for one in rule if not self.check(value, one, place)]
        return [] if len(fitting) == 1 else [f"{place} fits {len(fitting)} of {rule}"]

    def check_enum(self, value: Any, rule: list[Any], place: str, schema: Any) -> list[str]:
        return [] if value in rule else [f"{place} is {value!r}"]

    def check_const(self, value: Any, rule: Any, place: str, schema: Any) -> list[str]:
        return [] if value == rule else [f"{place} is {value!r}"]

    def check_pattern(self, value: Any, rule: str, place: str, schema: Any) -> list[str]:
        fits = not isinstance(value, str) or re.search(rule, value)
        return [] if fits else [f"{place} is {value[:60]!r}"]

    def check_minItems(self, value: Any, rule: int, place: str, schema: Any) -> list[str]:
        return [] if len(value) >= rule else [f"{place} has {len(value)} items"]

    check_minProperties = check_minItems
    check_minLength = check_minItems

    def check_uniqueItems(self, value: Any, rule: bool, place: str, schema: Any) -> list[str]:
        return [] if len(set(value)) == len(value) else [f"{place} has an item twice"]

    def check_minimum(self, value: Any, rule: int, place: str, schema: Any) -> list[str]:
        return [] if value >= rule else [f"{place} is {value}"]

    def check_maximum(self, value: Any, rule: int, place: str, schema: Any) -> list[str]:
        return [] if value <= rule else [f"{place} is {value}"]
