"""Scenarios from their files: read, refused where they say what no scenario can say, and expanded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

__all__ = ["SORTS", "BadScenario", "Case", "load_file", "load_suites"]

FOLDER: Final = Path(__file__).resolve().parent / "scenarios"

FILE_KEYS: Final = {"suite", "against", "about", "cases"}
CASE_KEYS: Final = {
    *("id", "rules", "about", "roles", "limits", "peer_limits", "resume", "exchange", "places", "open"),
    *("needs", "each", "steps"),
}
STEPS: Final[dict[str, frozenset[str]]] = {
    "send": frozenset({"in_request"}),
    "bytes": frozenset(),
    "expect": frozenset({"or", "also", "unordered"}),
    "event": frozenset(),
    "no_event": frozenset(),
    "do": frozenset(),
    "closes": frozenset(),
    "alive": frozenset(),
    "advance": frozenset(),
    "cut": frozenset(),
    "attach": frozenset(),
    "repeat": frozenset({"steps"}),
}
"""Step → what may stand beside its own key."""
SORTS: Final = ("connection", "places", "exchange", "promotion")
"""Sorts of conversations: carriers differ in which of them they can carry."""
ROLES: Final = ("client", "server")
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)*")
RULE: Final = re.compile(r"TW-[A-Z]{3}-\d{3}")
PLACEHOLDER: Final = re.compile(r"\$\{(\w+)\}")


class BadScenario(Exception):
    """A file says what no scenario can say; the text names the file, the case and the key."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case for any role, with its table expanded; see ``spec/conformance.md``."""

    id: str
    suite: str
    against: str
    about: str
    rules: tuple[str, ...]
    roles: tuple[str, ...] = ROLES
    limits: Mapping[str, int] = field(default_factory=dict)
    peer_limits: Mapping[str, int] = field(default_factory=dict)
    resume: bool = False
    exchange: bool = False
    places: bool = False
    open: bool = True
    needs: tuple[str, ...] = ()
    # Any: steps are data, read by the engine.
    steps: tuple[dict[str, Any], ...] = ()

    @property
    def sort(self) -> str:
        """What its carrier has to carry, one of ``SORTS``."""
        if "promotion" in self.needs:
            return "promotion"
        return "exchange" if self.exchange else "places" if self.places else "connection"


def load_suites(folder: Path = FOLDER) -> list[Case]:
    """All cases of all files, in the order of the files' names.

    Raises:
        BadScenario: one of them is not as the schema says, or an id stands twice.
    """
    if folder == FOLDER:
        return list(_shipped())
    return _unique([case for path in sorted(folder.glob("*.yaml")) for case in load_file(path)])


@cache
def _shipped() -> tuple[Case, ...]:
    return tuple(_unique([case for path in sorted(FOLDER.glob("*.yaml")) for case in load_file(path)]))


def _unique(cases: list[Case]) -> list[Case]:
    seen: dict[str, str] = {}
    for case in cases:
        if case.id in seen:
            raise BadScenario(f"The id {case.id} stands twice, in {seen[case.id]} and {case.suite}.")
        seen[case.id] = case.suite
    return cases


def load_file(path: Path) -> list[Case]:
    """The cases of one file.

    Raises:
        BadScenario: see the text.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), loader)
    except yaml.YAMLError as error:
        raise BadScenario(f"{path.name} is no YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(document, dict):
        raise BadScenario(f"{path.name} is no map; write suite, about and cases.")
    for key in document:
        if key not in FILE_KEYS:
            raise BadScenario(f"{path.name} has the unknown key {key!r}; it may have {_list(FILE_KEYS)}.")
    suite = document.get("suite")
    if suite != path.stem:
        raise BadScenario(f"{path.name} calls its suite {suite!r}; write {path.stem}, as the file is called.")
    against = document.get("against", "driver")
    if against not in ("driver", "service"):
        raise BadScenario(f"{path.name} is against {against!r}; write driver or service.")
    found = []
    for written in document.get("cases", ()):
        found += list(_cases(written, path.name, suite, against))
    return found


# Any, from here on: what YAML gives.


def _list(names: Any) -> str:
    return ", ".join(sorted(map(str, names)))


def _cases(written: Any, file: str, suite: str, against: str) -> Iterator[Case]:
    name = written.get("id") if isinstance(written, dict) else None
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadScenario(f"A case of {file} has no id of small letters, digits, - and /: {name!r}.")
    where = f"Case {name} of {file}"
    for key in written:
        if key not in CASE_KEYS:
            raise BadScenario(f"{where} has the unknown key {key!r}; it may have {_list(CASE_KEYS)}.")
    rows = written.get("each", [{}])
    for row in rows:
        if "each" in written and "name" not in row:
            raise BadScenario(f"{where} has a row without a name in its key 'each': {row!r}.")
        for key in row:
            if key not in rows[0]:
                raise BadScenario(f"{where} has a row with the unknown key {key!r} in its key 'each'.")
        filled = {key: _fill(value, row, where) for key, value in written.items() if key != "each"}
        yield _case(filled, f"{name}/{row['name']}" if "name" in row else name, where, suite, against)


def _case(written: dict[str, Any], name: str, where: str, suite: str, against: str) -> Case:
    rules = written.get("rules", [])
    if not rules or not all(isinstance(rule, str) and RULE.fullmatch(rule) for rule in rules):
        raise BadScenario(f"{where} has {rules!r} as its key 'rules'; write the ids of the rules it proves.")
    if not isinstance(written.get("about"), str):
        raise BadScenario(f"{where} has no key 'about'; say in one sentence what it proves.")
    roles = tuple(written.get("roles", ROLES if against == "driver" else ("server",)))
    if not roles or not set(roles) <= set(ROLES):
        raise BadScenario(f"{where} has {roles!r} as its key 'roles'; write client, server or both.")
    steps = written.get("steps")
    if not isinstance(steps, list) or not steps:
        raise BadScenario(f"{where} has no key 'steps' with a list of steps.")
    for step in steps:
        check_step(step, where)
    return Case(
        id=f"{suite}/{name}",
        suite=suite,
        against=against,
        about=written["about"],
        rules=tuple(dict.fromkeys(rules)),
        roles=roles,
        limits=written.get("limits", {}),
        peer_limits=written.get("peer_limits", {}),
        resume=written.get("resume", False),
        exchange=written.get("exchange", False),
        places=written.get("places", False),
        open=written.get("open", True),
        needs=tuple(written.get("needs", ())),
        steps=tuple(steps),
    )


def check_step(step: Any, where: str) -> None:
    """Refuse what is no step.

    Raises:
        BadScenario: it names no step that there is, or has something beside it.
    """
    if not isinstance(step, dict):
        raise BadScenario(f"{where} has a step that is no map: {step!r}.")
    kinds = [key for key in step if key in STEPS]
    if len(kinds) != 1:
        raise BadScenario(
            f"{where} has a step with the keys {_list(step)}; one of them must be of {_list(STEPS)}."
        )
    for key in set(step) - {kinds[0]}:
        if key not in STEPS[kinds[0]]:
            raise BadScenario(f"{where} has the unknown key {key!r} beside {kinds[0]!r}.")
    for inner in step.get("steps", ()):
        check_step(inner, where)


def _fill(value: Any, row: Mapping[str, Any], where: str) -> Any:
    """Put the cells of a row where their names stand."""
    if isinstance(value, str):
        if value.startswith("$") and value[1:] in row:
            return row[value[1:]]
        return PLACEHOLDER.sub(lambda match: str(row.get(match[1], match[0])), value)
    if isinstance(value, list):
        filled = []
        for each in value:
            # A cell that is a list takes the place of an item written "$*name".
            if isinstance(each, str) and each.startswith("$*"):
                if each[2:] not in row:
                    raise BadScenario(f"{where} names {each!r}, and its table has no such column.")
                filled += row[each[2:]]
            else:
                filled.append(_fill(each, row, where))
        return filled
    if isinstance(value, dict):
        return {_fill(key, row, where): _fill(content, row, where) for key, content in value.items()}
    return value
