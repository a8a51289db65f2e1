"""One self-contained HTML page: a matrix of suites and what they ran against, and every case behind it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from telewire_spec.engine import Result
from telewire_spec.plan import Summary
from telewire_spec.reports.machine import quotes
from telewire_spec.rules import rule_texts

__all__ = ["as_page"]

ORDER: Final = ("fail", "non-strict", "unsupported", "pass")
SHOWN: Final = 3
"""So many failures can be read without a click."""

CODE: Final = re.compile(r"`([^`]+)`")
STYLE: Final = Path(__file__).with_name("page.css")


def as_page(results: Sequence[Result], summary: Summary, about: dict[str, str]) -> str:
    """The page."""
    ways = list(dict.fromkeys((each.role, each.carrier) for each in results))
    suites = list(dict.fromkeys(each.case.suite for each in results))
    total = len(results)
    lead = ", ".join(f"{escape(name)} {escape(value)}" for name, value in about.items() if value)
    tiles = "".join(
        f'<div class="tile"><b class="{verdict if summary.counts[verdict] else "none"}">'
        f"{summary.counts[verdict]}</b><span>{verdict}"
        + (f", {len(summary.known)} of them known" if verdict == "fail" and summary.known else "")
        + "</span></div>"
        for verdict in reversed(ORDER)
    )
    rules = {rule for each in results if each.verdict in ("pass", "non-strict") for rule in each.case.rules}
    tiles += f'<div class="tile"><b>{len(rules)}</b><span>of {len(rule_texts())} rules shown</span></div>'
    matrix = "".join(_row(suite, ways, results) for suite in suites)
    heads = "".join(f"<th><i>{escape(role)}</i>{escape(carrier)}</th>" for role, carrier in ways)
    failures = [each for each in results if each.verdict in ("fail", "non-strict")]
    failed = "".join(
        _case([each], where=f"{each.role} · {each.carrier}", shown=number < SHOWN)
        for number, each in enumerate(failures)
    )
    failed = failed or '<p class="pass">None.</p>'
    body = "".join(_suite(suite, results) for suite in suites)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>telewire conformance</title><style>{STYLE.read_text(encoding='utf-8')}</style>"
        f'<h1>telewire conformance</h1><p class="lead">{lead}. {total} results.</p>'
        f'<div class="tiles">{tiles}</div><h2>Matrix</h2><div class="wide" tabindex="0">'
        f"<table><tr><th>suite</th>{heads}</tr>{matrix}</table></div>"
        f"<h2>What did not pass, or not strictly</h2>{failed}{body}</html>\n"
    )


def _row(suite: str, ways: Sequence[tuple[str, str]], results: Sequence[Result]) -> str:
    cells = ""
    for way in ways:
        mine = Counter(
            each.verdict for each in results if each.case.suite == suite and (each.role, each.carrier) == way
        )
        whole = sum(mine.values())
        if not whole:
            cells += '<td class="bar"><span class="unsupported">–</span></td>'
            continue
        bars = "".join(
            f'<i class="{verdict}" style="flex-grow:{mine[verdict]}" title="{mine[verdict]} {verdict}"></i>'
            for verdict in reversed(ORDER)
            if mine[verdict]
        )
        passed = whole - mine["fail"] - mine["unsupported"]
        cells += f'<td class="bar"><div>{bars}</div>{passed}/{whole}</td>'
    return f'<tr><th><a href="#{escape(suite)}">{escape(suite)}</a></th>{cells}</tr>'


def _suite(suite: str, results: Sequence[Result]) -> str:
    cases: dict[str, list[Result]] = {}
    for each in results:
        if each.case.suite == suite:
            cases.setdefault(each.case.id, []).append(each)
    heading = f'<h2 id="{escape(suite)}">{escape(suite)} <small>{len(cases)} cases</small></h2>'
    return heading + "".join(map(_case, cases.values()))


def _case(results: Sequence[Result], where: str = "", shown: bool = False) -> str:
    """A case with what became of it; ``where``, if it is about one result, and ``shown``, if it is open."""
    first = results[0]
    worst = min(results, key=lambda each: ORDER.index(each.verdict))
    parts = [f"<p>{escape(first.case.about)}</p>"]
    groups: dict[tuple[str, str], list[Result]] = {}
    for each in results:
        groups.setdefault((each.verdict, each.reason), []).append(each)
    for (verdict, reason), alike in sorted(groups.items(), key=lambda group: ORDER.index(group[0][0])):
        ways = ", ".join(f"{escape(each.role)} · {escape(each.carrier)}" for each in alike)
        if not where:
            parts.append(f'<p class="ways"><b class="{verdict}">{verdict}</b> {ways}</p>')
        if reason:
            parts.append(f'<p class="why">{escape(reason)}</p>')
    for line in quotes(worst):
        rule, _, text = line.partition(": ")
        broken = ' class="broken"' if rule == worst.broken else ""
        text = CODE.sub(r"<code>\1</code>", escape(text))
        parts.append(f"<blockquote{broken}><b>{escape(rule)}</b> {text}</blockquote>")
    for each in results:
        if each.verdict == "fail":
            parts.append("<small>→ is what the runner says, ← the implementation</small>")
            parts.append(f"<pre>{''.join(map(_line, each.log))}</pre>")
    verdict = f'<span class="{worst.verdict}">{worst.verdict}</span>'
    place = f" <small>{escape(where)}</small>" if where else ""
    heading = f"<summary><code>{escape(first.case.id)}</code>{place}{verdict}</summary>"
    return f"<details{' open' if shown else ''}>{heading}{''.join(parts)}</details>"


def _line(line: str) -> str:
    """A line of the log: what was said and by whom, and its bytes less loudly."""
    text, bracket, data = line.rpartition("  [")
    if not bracket:
        text, data = line, ""
    kind = {"→": "said", "←": "heard"}.get(line[:1], "aside")
    shown = f" <i>{escape(data.rstrip(']'))}</i>" if data else ""
    return f'<span class="{kind}">{escape(text)}{shown}</span>'
