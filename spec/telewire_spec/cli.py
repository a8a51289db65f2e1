"""The command ``telewire-spec``: run the suite against a driver or a server, list what it has."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console

from telewire_spec.casefile import SORTS, Case, load_suites
from telewire_spec.engine import Result, run_case
from telewire_spec.frozen import requirement_sets
from telewire_spec.plan import chosen, known_failing, summarise
from telewire_spec.process import ProcessSubject
from telewire_spec.reports.machine import as_json, as_junit
from telewire_spec.reports.page import as_page
from telewire_spec.reports.terminal import show_failures, show_table, with_progress
from telewire_spec.rules import document_path, rule_texts
from telewire_spec.subject import Subject, SubjectFailed, Unsupported
from telewire_spec.wire import UrlSubject, for_the_wire

__all__ = ["main", "plan_of", "run_all"]

Job = tuple[Case, str, Subject]


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"The driver protocol, the service and the verdicts are described in {document_path()}",
)
def main() -> None:
    """Prove that an implementation of telewire does what the specification says."""


@main.command()
@click.option("--command", multiple=True, help="A driver to run; it speaks the driver protocol.")
@click.option(
    "--url",
    multiple=True,
    help="A server: ws(s)://, http(s):// for exchanges, session+http(s):// or sse+http(s):// for HTTP"
    " sessions; NAME= before it names it.",
)
@click.option("--only", multiple=True, metavar="PATTERN", help="Cases by id: calls, or limits/*/at.")
@click.option("--rule", multiple=True, metavar="ID", help="Cases that prove this rule.")
@click.option("--role", type=click.Choice(["client", "server"]), help="Only this role of a driver.")
@click.option("--set", "named_set", help="A requirement set of version 1.0, such as core.")
@click.option("--known-failing", "failing", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seed", type=int, help="Shuffle the cases, and grease what the runner sends.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit here.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON here.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one page for people here."
)
@click.option(
    "--patience", type=float, default=10.0, show_default=True, help="Seconds to wait for an answer."
)
def run(
    command: tuple[str, ...],
    url: tuple[str, ...],
    only: tuple[str, ...],
    rule: tuple[str, ...],
    role: str | None,
    named_set: str | None,
    failing: Path | None,
    seed: int | None,
    junit: Path | None,
    json_path: Path | None,
    html: Path | None,
    patience: float,
) -> None:
    """Run cases, against each --command and each --url.

    Exit status: 0 where all is as it should be, 1 where a case failed that --known-failing does not list or
    passed that it does, 2 for wrong usage, also where nothing answers, 127 where a driver supports nothing.
    """
    if not command and not url:
        raise click.UsageError("Say what is to be tested: --command or --url.")
    console = Console(highlight=False)
    try:
        cases = chosen(load_suites(), patterns=only, rules=rule, named_set=named_set, seed=seed)
    except KeyError:
        names = ", ".join(requirement_sets())
        raise click.UsageError(f"There is no set {named_set!r}; there are {names}.") from None
    subjects = drivers(command, patience)
    jobs = [job for subject in subjects for job in plan_of(cases, subject, role)]
    jobs += [job for server in servers(url, patience) for job in plan_of(cases, server)]
    if not jobs:
        raise click.UsageError("No case is left; --only, --rule, --role and --set all have to fit.")
    results = list(with_progress(console, len(jobs), run_all(jobs, grease=seed is not None)))
    patterns = known_failing(failing) if failing is not None else []
    summary = summarise(results, patterns)
    show_failures(console, summary.unexpected, "FAIL")
    show_table(console, results, summary)
    shown = list(dict.fromkeys(each.name for each in subjects))
    shown += [server_at(each, patience).carrier if "=" in each else each for each in url]
    about = {"of": ", ".join(shown), "set": named_set or "", "version": "1.0"}
    if seed is not None:
        about["seed"] = str(seed)
    reports: list[tuple[Path, str]] = [(junit, as_junit(results))] if junit else []
    reports += [(json_path, as_json(results, summary, about))] if json_path else []
    reports += [(html, as_page(results, summary, about))] if html else []
    for path, text in reports:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        console.print(f"[dim]{path} written[/]")
    sys.exit(0 if summary.good else 1)


def drivers(commands: Sequence[str], patience: float) -> list[ProcessSubject]:
    """Start the drivers, and end here where one cannot be run, or supports nothing."""
    found = []
    for each in commands:
        subject = ProcessSubject(shlex.split(each), patience=patience)
        try:
            subject.info()
        except Unsupported:
            click.echo(f"{each} supports nothing: it ended with status 127.", err=True)
            sys.exit(127)
        except SubjectFailed as error:
            raise click.UsageError(f"{each} is no driver. {error}") from None
        found.append(subject)
    return found


def servers(urls: Sequence[str], patience: float) -> list[UrlSubject]:
    """Greet the servers, and end here where one cannot be reached: all cases would fail, for that reason."""
    found = []
    for each in urls:
        subject = server_at(each, patience)
        try:
            subject.start()
        except SubjectFailed as error:
            raise click.UsageError(f"Nothing can be tested there. {error}") from None
        subject.close()
        found.append(subject)
    return found


def server_at(written: str, patience: float) -> UrlSubject:
    """A server by its address; ``NAME=`` before it is what the report calls the carrier."""
    name, _, url = written.rpartition("=") if "=" in written.partition("://")[0] else ("", "", written)
    return UrlSubject(url, carrier=name or None, patience=patience)


def plan_of(cases: Sequence[Case], subject: Subject, role: str | None = None) -> list[Job]:
    """What is to be run against one subject: each case that can be carried, in each role that both have."""
    if isinstance(subject, UrlSubject):
        return [(case, "server", subject) for case in for_the_wire(cases, subject)]
    roles = [role] if role else ["client", "server"]
    able = getattr(subject, "roles", ("client", "server"))
    carries = getattr(subject, "carries", SORTS)
    return [
        (case, each, subject)
        for case in cases
        if case.against == "driver" and case.sort in carries
        for each in roles
        if each in case.roles and each in able
    ]


def run_all(jobs: Sequence[Job], *, grease: bool = False) -> Iterator[Result]:
    """Run them one after the other, and take leave of the subjects."""
    try:
        for case, role, subject in jobs:
            yield run_case(case, role, subject, grease=grease)
    finally:
        for subject in {id(subject): subject for _, _, subject in jobs}.values():
            subject.close()


@main.command("list")
@click.option("--rules", is_flag=True, help="Tell the sentences of each case, too.")
@click.argument("patterns", nargs=-1)
def list_cases(rules: bool, patterns: tuple[str, ...]) -> None:
    """List the cases, all or by PATTERNS."""
    texts = rule_texts()
    for case in chosen(load_suites(), patterns=patterns):
        click.echo(f"{case.id}: {case.about}")
        if rules:
            for each in case.rules:
                click.echo(f"    {each} {texts.get(each, '')}")
