#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""What is run again and again: `nox -l` lists it, `nox -s tests-3.12` runs one.

`.ci/run` is the whole of it in one command; a session here is one part.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
SCRIPTS = sorted(Path("benchmarks").glob("*.py"))
BENCHMARKS = [path for path in SCRIPTS if "__main__" in path.read_text(encoding="utf-8")]


def install(session: nox.Session, *groups: str, extras: str = "") -> None:
    """Install the package in place, with dependency groups and extras."""
    needs = [needed for group in groups for needed in nox.project.dependency_groups(PROJECT, group)]
    session.install("-e", f".[{extras}]" if extras else ".", *needs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests that need no more than the light group, on each Python there is."""
    install(session, "test")
    session.run("pytest", "-q", *session.posargs)


@nox.session(python=PYTHONS[0], default=False)
@nox.parametrize("numpy", ["2.0.*", "newest"])
def numpys(session: nox.Session, numpy: str) -> None:
    """Run the light tests on the lowest NumPy and on the newest, release candidates too."""
    install(session, "test")
    session.install(*(["-U", "--pre", "numpy"] if numpy == "newest" else [f"numpy=={numpy}"]))
    session.run("pytest", "-q", *session.posargs)


@nox.session(python=PYTHONS[0], default=False)
def everything(session: nox.Session) -> None:
    """Run all tests with every extra; none may be skipped."""
    install(session, extras="all")
    session.run("pytest", "-q", "--fail-on-skip", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and form."""
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    install(session, "lint", extras="plots")
    session.run("mypy")


@nox.session(default=False)
def notebooks(session: nox.Session) -> None:
    """Run the notebooks afresh and hold their outputs against the committed ones."""
    install(session, extras="notebooks")
    session.run("python", "notebooks/execute.py", *session.posargs)


@nox.session(default=False)
def site(session: nox.Session) -> None:
    """Build the site; it is a folder that any static host serves."""
    install(session, extras="docs,plots,sklearn,testing")
    session.run("python", "-m", "sphinx", "-W", "docs", "site", *session.posargs)


@nox.session(default=False)
def benchmarks(session: nox.Session) -> None:
    """Run each benchmark for seconds: that it works, not what it measures."""
    install(session, extras="bench")
    for script in BENCHMARKS:
        session.run("python", str(script), "--quick")


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Change the code in small ways, and count what no test notices. Takes hours."""
    install(session, "mutation")
    session.run("mutmut", "run", *session.posargs)
    session.run("mutmut", "results")


@nox.session(default=False)
def dist(session: nox.Session) -> None:
    """Build sdist and wheel and check them; run the command of the one, the tests of the other."""
    session.install(*nox.project.dependency_groups(PROJECT, "dist"))
    place = Path(session.create_tmp()).resolve()
    session.run("validate-pyproject", "pyproject.toml")
    session.run("python", "-m", "build", "--outdir", str(place / "dist"))
    (wheel,), (sdist,) = ((place / "dist").glob(end) for end in ("*.whl", "*.tar.gz"))
    session.run("twine", "check", "--strict", str(wheel), str(sdist))
    session.run("check-wheel-contents", str(wheel))
    session.run("python", "-m", "tarfile", "-e", str(sdist), str(place))
    session.install(str(wheel), *nox.project.dependency_groups(PROJECT, "test"))
    session.chdir(place)
    session.run("bpnet")
    session.chdir(place / sdist.name.removesuffix(".tar.gz"))
    session.run("python", "-m", "pytest", "-q")


if __name__ == "__main__":
    nox.main()
