"""One self-contained HTML page: a matrix of suites and what they ran against, and every case behind it."""

from __future__ import annotations

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

STYLE: Final = Path(__file__).with_name("page.css")


def as_page(results: Sequence[Result], summary: Summary, about: dict[str, str]) -> str:
    """The page."""
    ways = list(dict.fromkeys((each.role, each.carrier) for each in results))
    suites = list(dict.fromkeys(each.case.suite for each in results))
    total = len(results)
    lead = ", ".join(f"{escape(name)} {escape(value)}" for name, value in about.items() if value)
    tiles = "".join(
        f'<div class="tile"><b class="{verdict}">{summary.counts[verdict]}</b><span>{verdict}'
        + (f", {len(summary.known)} of them known" if verdict == "fail" and summary.known else "")
        + "</span></div>"
        for verdict in reversed(ORDER)
    )
    rules = {rule for each in results if each.verdict in ("pass", "non-strict") for rule in each.case.rules}
    tiles += f'<div class="tile"><b>{len(rules)}</b><span>of {len(rule_texts())} rules shown</span></div>'
    matrix = "".join(_row(suite, ways, results) for suite in suites)
    heads = "".join(f"<th>{escape(role)} · {escape(carrier)}</th>" for role, carrier in ways)
    failures = [each for each in results if each.verdict in ("fail", "non-strict")]
    failed = "".join(_case([each]) for each in failures) or '<p class="pass">None.</p>'
    body = "".join(_suite(suite, results) for suite in suites)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>telewire conformance</title><style>{STYLE.read_text(encoding='utf-8')}</style>"
        f'<h1>telewire conformance</h1><p class="lead">{lead}. {total} results.</p>'
        f'<div class="tiles">{tiles}</div><h2>Matrix</h2><div class="wide">'
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
            f'<i class="{verdict}" style="width:{max(3, round(70 * mine[verdict] / whole))}px" '
            f'title="{mine[verdict]} {verdict}"></i>'
            for verdict in reversed(ORDER)
            if mine[verdict]
        )
        cells += f'<td class="bar">{bars} {whole - mine["fail"] - mine["unsupported"]}/{whole}</td>'
    return f'<tr><td><a href="#{escape(suite)}">{escape(suite)}</a></td>{cells}</tr>'


def _suite(suite: str, results: Sequence[Result]) -> str:
    cases: dict[str, list[Result]] = {}
    for each in results:
        if each.case.suite == suite:
            cases.setdefault(each.case.id, []).append(each)
    return f'<h2 id="{escape(suite)}">{escape(suite)}</h2>' + "".join(map(_case, cases.values()))


def _case(results: Sequence[Result]) -> str:
    first = results[0]
    worst = min(results, key=lambda each: ORDER.index(each.verdict))
    parts = [f"<p>{escape(first.case.about)}</p>"]
    for line in quotes(worst):
        rule, _, text = line.partition(": ")
        parts.append(f"<blockquote><b>{escape(rule)}</b> {escape(text)}</blockquote>")
    for each in results:
        verdict = f'<span class="{each.verdict}">{each.verdict}</span>'
        reason = f' <span class="why">{escape(each.reason)}</span>' if each.reason else ""
        parts.append(f"<p>{escape(each.role)} · {escape(each.carrier)}: {verdict}{reason}</p>")
        if each.verdict == "fail":
            parts.append(f"<pre>{escape(chr(10).join(each.log))}</pre>")
    verdict = f'<span class="{worst.verdict}">{worst.verdict}</span>'
    heading = f"<summary><code>{escape(first.case.id)}</code>{verdict}</summary>"
    return f"<details>{heading}{''.join(parts)}</details>"
