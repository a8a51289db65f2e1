"""Results as JUnit, which CI systems show, and as JSON, for everything else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from telewire_spec.engine import Result
from telewire_spec.plan import Summary
from telewire_spec.rules import rule_texts

__all__ = ["as_json", "as_junit"]


def clean(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(each if each >= " " or each in "\n\t" else "�" for each in text)


def as_junit(results: Sequence[Result]) -> str:
    """A JUnit document: a suite for each suite, role and carrier."""
    root = ElementTree.Element("testsuites", name="telewire conformance")
    suites: dict[str, list[Result]] = {}
    for result in results:
        suites.setdefault(f"{result.case.suite} ({result.role}, {result.carrier})", []).append(result)
    for name, mine in suites.items():
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=name,
            tests=str(len(mine)),
            failures=str(sum(each.verdict == "fail" for each in mine)),
            skipped=str(sum(each.verdict == "unsupported" for each in mine)),
            time=f"{sum(each.seconds for each in mine):.3f}",
        )
        for each in mine:
            case = ElementTree.SubElement(
                suite, "testcase", classname=name, name=each.case.id, time=f"{each.seconds:.3f}"
            )
            if each.verdict == "fail":
                failure = ElementTree.SubElement(case, "failure", message=clean(each.reason))
                failure.text = clean("\n".join([*quotes(each), "", *each.log]))
            elif each.verdict == "unsupported":
                ElementTree.SubElement(case, "skipped", message=clean(each.reason))
            elif each.verdict == "non-strict":
                ElementTree.SubElement(case, "system-out").text = clean(f"non-strict: {each.reason}")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def quotes(result: Result) -> list[str]:
    """The sentences that a failure is about; the one that was broken first."""
    rules = ([result.broken] if result.broken else []) + list(result.case.rules)
    texts = rule_texts()
    return [f"{rule}: {texts.get(rule, 'not in this version')}" for rule in dict.fromkeys(rules)]


def as_json(results: Sequence[Result], summary: Summary, about: dict[str, str]) -> str:
    """Everything, for programs; the log only of what did not pass."""
    # Any: JSON.
    told: list[dict[str, Any]] = [
        {
            "id": each.case.id,
            "role": each.role,
            "carrier": each.carrier,
            "verdict": each.verdict,
            "rules": list(each.case.rules),
            "about": each.case.about,
            "seconds": round(each.seconds, 6),
            **({"reason": each.reason} if each.reason else {}),
            **({"broken": each.broken} if each.broken else {}),
            **({"log": each.log} if each.verdict == "fail" else {}),
        }
        for each in results
    ]
    document = {
        **about,
        "counts": dict(summary.counts),
        "good": summary.good,
        "unexpected": [each.name for each in summary.unexpected],
        "known": [each.name for each in summary.known],
        "surprising": [each.name for each in summary.surprising],
        "results": told,
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
