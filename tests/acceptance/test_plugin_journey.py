"""`docs/writing-a-connector.md`, run as it stands: a stranger's plugin beside the built wheel."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/writing-a-connector.md"
PATIENCE = 400.0  # seconds for all of it, on a machine that has much else to do
PORT = "8601"  # as the page has it
HOME = "/home/anna/acme"  # the same
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
# What differs from run to run, and what stands for it.
VARYING = (
    (r"r\d{8}-[a-z0-9]{10}", "RUN"),
    (r"\b\d+\.\d\ds\b", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "MOMENT"),
    (r" +(\n|$)", r"\1"),
)


def _run(*words: str | Path, **environment: str) -> None:
    ended = subprocess.run(  # noqa: S603 - our own commands
        [str(word) for word in words],
        env={**os.environ, **OFFLINE, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a virtual environment that has audience-sync's wheel."""
    place = tmp_path_factory.mktemp("fresh")
    _install(place)
    return place


def _install(place: Path) -> None:
    """Build the wheel and install it; other packages are those of the tests."""
    skipped = shutil.ignore_patterns("__pycache__")
    for folder in ("audience_sync", "connectors"):
        shutil.copytree(ROOT / folder, place / "source" / folder, ignore=skipped)
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, place / "source")
    pip = (sys.executable, "-m", "pip", "--quiet")
    _run(*pip, "wheel", "--no-build-isolation", "--wheel-dir", place, place / "source")
    _run(sys.executable, "-m", "venv", "--without-pip", place / "venv")
    python = place / "venv/bin/python"
    [packages] = (place / "venv/lib").glob("python*/site-packages")
    (packages / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
    [wheel] = place.glob("audience_sync-*.whl")
    _run(python, "-m", "pip", "--quiet", "install", "--no-compile", wheel)


def _steps() -> list[tuple[str, str]]:
    """Every command of the page with what it prints."""
    text = PAGE.read_text(encoding="utf-8")
    steps: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines(keepends=True)
            end = lines.index("END\n") + 1 if "<<'END'" in lines[0] else 1
            steps.append(("".join(lines[:end]), "".join(lines[end:])))
    return steps


def _played(fresh: Path, port: str) -> list[str]:
    """What each command prints, in one shell in an empty folder."""
    place = fresh / "work"
    place.mkdir()
    script = ["exec 2>&1"]
    for command, _ in _steps():
        line = command.replace(PORT, port)
        if line.endswith("&\n"):  # in a terminal of its own, so wait for what it says first
            line = line.replace(" &\n", " > sandbox.log &\n")
            line += "until [ -s sandbox.log ]; do sleep 0.05; done; cat sandbox.log\n"
        script += [line, "printf '\\036'"]
    environment = {
        "PATH": f"{fresh / 'venv/bin'}:{os.environ['PATH']}",
        "HOME": str(place),
        "LANG": "C.UTF-8",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it the wrong way round: no isolation
        **OFFLINE,
    }
    ended = subprocess.run(  # noqa: S603 - our own page
        ["bash", "-c", "\n".join(script)],  # noqa: S607 - the shell of the page
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    told = ended.stdout.replace(str(place), HOME).replace(port, PORT)
    return told.split("\036")[:-1]


def _plain(text: str) -> str:
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    return text.strip("\n")


def _free_port() -> str:
    """Below those that the system gives to others, who might take it until it is used."""
    for port in random.sample(range(30_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return str(port)
    raise AssertionError("no port is free")


@pytest.mark.timeout(300)
def test_the_page_is_what_happens(fresh: Path) -> None:
    """Written, installed, tested, synced, broken and mended: each command prints what it says."""
    printed = _played(fresh, _free_port())
    wanted = _steps()
    told = [f"$ {command}{_plain(out)}" for (command, _), out in zip(wanted, printed, strict=True)]
    assert told == [f"$ {command}{_plain(out)}" for command, out in wanted]


def test_the_package_of_the_test_is_the_wheel(fresh: Path) -> None:
    """The journey is travelled with what was built, not with this checkout."""
    code = "import audience_sync, connectors; print(audience_sync.__file__, connectors.__file__)"
    found = subprocess.run(  # noqa: S603 - our own code
        [fresh / "venv/bin/python", "-c", code],
        cwd=fresh,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.count(str(fresh / "venv")) == 2


def _write(place: Path) -> None:
    """Put what is printed into the page, to be read before it is kept."""
    _install(place)
    page = PAGE.read_text(encoding="utf-8")
    start = 0
    for (command, out), printed in zip(_steps(), _played(place, PORT), strict=True):
        start = page.index(f"$ {command}", start) + len(f"$ {command}")
        told = printed.strip("\n")
        told = "\n".join(line.rstrip() for line in told.splitlines()) + "\n" if told else ""
        page = page[:start] + told + page[start + len(out) :]
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":  # PYTHONPATH=. python tests/acceptance/test_plugin_journey.py
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder))
