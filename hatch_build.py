"""Build hook: examples and the law go into the wheel, and with TELEWIRE_COMPILE=1 compiled modules as well.

Without the variable the wheel is pure Python, so that neither an installation nor a checkout needs a
C compiler. The sources stay in the wheel beside what was compiled from them. TELEWIRE_COMPILE_LEVEL
is how hard the C compiler tries, 3 unless it is set. ``make compiled`` builds such a wheel and tests it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS = ("wire", "core")
"""Packages of telewire that are compiled, but for what is left out."""
NEEDED = ("errors.py", "limits.py")
"""What these import beside each other. It stays Python: errors.py has classes like a TimeoutError, which a
compiled class cannot be, and limits.py is a dataclass that is looked at and never made on a hot path."""
LEFT_OUT = {
    "__init__.py": "only names things",
    "frames.py": "a compiled dataclass has an __init__ of Python: making one takes 1.3 to 1.5 times as long",
    "events.py": "the same; and it is not imported, as annotations name what is there for types only",
    "value_error.py": "a compiled class cannot be a TypeError",
}
"""File of these → why it stays Python."""

# 0 is compiled in a third of the time: enough where it is tested and not measured.
LEVEL = os.environ.get("TELEWIRE_COMPILE_LEVEL", "3")

# Where ``telewire demo`` looks for the examples when it is installed.
PROGRAMS = "telewire/demo/programs"

# What telewire-spec quotes, and holds every byte against, and what authors of implementations read.
LAW = "telewire_spec/chapters"
CHAPTERS = ("[0R]*.md", "conformance.md", "telewire.cddl", "registries/*.csv")

# Runs in a process of its own, because setuptools and mypyc keep global state.
BUILD = """
import sys
from mypyc.build import mypycify
from setuptools import setup

generated, level, *rest = sys.argv[1:]
cut = rest.index("--")
sys.argv[1:], sources = rest[:cut], rest[cut + 1 :]
setup(
    name="telewire",
    packages=[],
    ext_modules=mypycify(
        ["--strict", *sources],
        opt_level=level,
        group_name="telewire",
        target_dir=generated,
    ),
)
"""


class WheelHook(BuildHookInterface[Any]):
    """Adds examples and chapters to the wheel, and extension modules where they are wanted."""

    work: tempfile.TemporaryDirectory[str] | None = None

    @property
    def wanted(self) -> bool:
        """Whether this build was asked for compiled modules."""
        return os.environ.get("TELEWIRE_COMPILE") == "1"

    def dependencies(self) -> list[str]:
        """What the build needs beyond hatchling; nothing for a pure wheel."""
        return ["cbor2>=6", "mypy>=2.4", "setuptools>=69"] if self.wanted else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Say what goes into the wheel besides the packages; compile it first where that is wanted.

        Raises:
            subprocess.CalledProcessError: the compiler failed; its output stands above.
        """
        # An editable installation has the checkout's own, and copies would grow stale beside them.
        if version == "editable":
            return
        root = Path(self.root)
        law = root / "spec"
        for chapter in sorted(path for pattern in CHAPTERS for path in law.glob(pattern)):
            build_data["force_include"][str(chapter)] = f"{LAW}/{chapter.relative_to(law).as_posix()}"
        for example in sorted((root / "examples").glob("*.py")):
            build_data["force_include"][str(example)] = f"{PROGRAMS}/{example.name}"
        if self.wanted:
            self.compile(root, build_data)

    def compile(self, root: Path, build_data: dict[str, Any]) -> None:
        """Compile, and tell the builder where to put the results."""
        self.work = tempfile.TemporaryDirectory(prefix="telewire-compile-")
        work = Path(self.work.name)
        # The core alone: the package's own __init__ leads mypy to the runtime and all that it imports.
        package = work / "sources" / "telewire"
        for part in PARTS:
            shutil.copytree(root / "telewire" / part, package / part)
        for name in NEEDED:
            shutil.copy(root / "telewire" / name, package)
        (package / "__init__.py").touch()
        found = {path for part in PARTS for path in (package / part).glob("*.py")}
        sources = sorted(
            path.relative_to(package.parent).as_posix() for path in found if path.name not in LEFT_OUT
        )
        options = ["-q", "build_ext", f"--build-lib={work / 'lib'}", f"--build-temp={work / 'objects'}"]
        subprocess.run(
            [sys.executable, "-c", BUILD, str(work / "generated"), LEVEL, *options, "--", *sources],
            cwd=package.parent,
            env={**os.environ, "MYPY_CACHE_DIR": str(work / "cache")},
            check=True,
        )
        for module in (work / "lib").rglob("*"):
            if module.suffix in {".so", ".pyd"}:
                build_data["force_include"][str(module)] = module.relative_to(work / "lib").as_posix()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what the compiler left."""
        if self.work is not None:
            self.work.cleanup()
