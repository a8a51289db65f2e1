"""The HTML page of a conformance run: whole by itself, well-formed, and it says what failed and why."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from telewire_spec.broken.peers import PEERS
from telewire_spec.casefile import load_suites
from telewire_spec.driver.application import Application
from telewire_spec.engine import Result, run_case
from telewire_spec.plan import summarise
from telewire_spec.reports.page import as_page
from telewire_spec.rules import rule_texts

VOID = {"meta", "link", "img", "base"}


class Page(HTMLParser):
    """Reads the page; what it refers to, its names, and the text under each element that is asked for."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.names: list[str] = []
        self.tags: list[tuple[str, str]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.links += [given[name] for name in ("href", "src", "action", "data") if name in given]
        self.names += [given["id"]] if "id" in given else []
        self.tags.append((tag, given.get("class", "")))
        if tag not in VOID:
            self.open.append(tag)
            self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.text[tag][-1] += data


@pytest.fixture(scope="module")
def results() -> list[Result]:
    wrong = next(peer for peer in PEERS if peer.name == "says-a-wrong-pong")
    cases = [case for case in load_suites() if case.suite in ("keepalive", "drain")]
    return [
        run_case(case, role, subject)
        for case in cases
        for role in case.roles
        for subject in (Application(), wrong.make())
    ]


def test_the_page_is_whole_and_asks_for_nothing_else(results: list[Result]) -> None:
    page = Page(text := as_page(results, summarise(results), {"of": "ours <b>& theirs</b>", "set": ""}))
    assert page.open == []
    assert page.links
    for link in page.links:
        assert link.startswith("#")
        assert link[1:] in page.names
    assert len(set(page.names)) == len(page.names)
    assert not re.search(r"url\(|@import", text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "base"}
    assert "ours <b>& theirs</b>" in page.text["p"][0]


def test_a_failure_is_told_with_its_log_and_the_sentence_of_the_rule(results: list[Result]) -> None:
    page = Page(as_page(results, summarise(results), {}))
    failed = [each for each in results if each.verdict == "fail"]
    assert failed
    details = page.text["details"]
    for each in failed:
        # Once where the failures stand, once among the cases of its suite.
        assert sum(each.case.id in detail and each.reason in detail for detail in details) >= 2
    wrong = next(each for each in failed if each.broken)
    assert wrong.broken is not None
    sentence = rule_texts()[wrong.broken].replace("`", "")
    assert any(sentence in quote for quote in page.text["blockquote"])
    assert ("blockquote", "broken") in page.tags
    logs = page.text["pre"]
    assert any("PONG" in log and "PING" in log and "81" in log for log in logs)
    assert {kind for tag, kind in page.tags if tag == "span"} >= {"said", "heard", "fail", "pass"}


def test_the_matrix_counts(results: list[Result]) -> None:
    page = Page(as_page(results, summarise(results), {}))
    [matrix] = page.text["table"]
    keepalive = [each for each in results if each.case.suite == "keepalive" and each.role == "client"]
    passed = sum(each.verdict == "pass" for each in keepalive)
    assert 0 < passed < len(keepalive)
    assert f"{passed}/{len(keepalive)}" in matrix
    tiles = [int(found) for found in re.findall(r"\d+", " ".join(page.text["b"][:4]))]
    assert sum(tiles) == len(results)


def test_a_run_without_failures_says_so(results: list[Result]) -> None:
    fine = [each for each in results if each.verdict == "pass"]
    page = Page(as_page(fine, summarise(fine), {}))
    assert "None." in page.text["p"]
    assert "pre" not in page.text
