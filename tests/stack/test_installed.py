"""The wheel and the source distribution: what is in them, and the wheel at work where there is no checkout."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest

from autopay import __version__
from tests.stack.up import PATIENCE_S, clean_environment

ROOT = Path(__file__).parents[2]
NAME = f"autopay-{__version__}"

STATIC = Path("autopay", "api", "page", "static")
"""The page's scripts and styles, which `make` builds and git ignores."""

PAGE = {str(STATIC / name) for name in ("built-from", "icon.svg", "licences.txt", "page.css", "page.js")}

NOT_OURS_TO_GIVE = (".autopay/keyring", ".env", "build/lib/autopay/stale.py")
"""What may lie in a checkout and must not go into a distribution; the first two are secrets."""

TAKEN = ("workflows", "activities", "localnet", "worker", "starter", "autopay", "httpx")
"""Modules of the same names in the directory of a user."""


@dataclass
class Distributions:
    """What `make dist` has built: the files by their names, without the folder of name and version."""

    wheel: Path
    in_wheel: dict[str, str]
    in_source: set[str]

    @property
    def metadata(self) -> Message:
        """The wheel's."""
        return message_from_string(self.in_wheel[f"{NAME}.dist-info/METADATA"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The source distribution of a copy of this checkout, and the wheel that is built from it alone."""
    copy, dist = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    if (ROOT / STATIC / "built-from").exists():  # else it is built once more, from the copy
        shutil.copytree(ROOT / STATIC, copy / STATIC)
    for name in NOT_OURS_TO_GIVE:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("hush")
    build = [sys.executable, "-m", "build", "-q", "--no-isolation", "--outdir", str(dist)]
    subprocess.run(build, check=True, cwd=copy, capture_output=True)
    (wheel,), (source,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with ZipFile(wheel) as archive:
        in_wheel = {name: archive.read(name).decode() for name in archive.namelist()}
    with tarfile.open(source) as tar:
        in_source = {name.removeprefix(f"{NAME}/") for name in tar.getnames()}
    return Distributions(wheel, in_wheel, in_source)


def sources(*folders: str) -> set[str]:
    """The modules and migrations of the checkout below these folders."""
    kinds = ("*.py", "*.sql", "*.mako", "py.typed", "templates/**/*.html")
    return {str(path.relative_to(ROOT)) for folder in folders for kind in kinds for path in (ROOT / folder).rglob(kind)}


def test_the_wheel_has_the_program_and_the_migrations_and_takes_no_other_name(built: Distributions) -> None:
    inner = sources("workflows", "activities", "localnet", "alembic") | {"worker.py"}
    program = sources("autopay") | PAGE | {f"autopay/_top_level/{name}" for name in inner}
    assert "autopay/py.typed" in program
    info = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt")
    assert set(built.in_wheel) == program | {f"{NAME}.dist-info/{name}" for name in info}
    assert built.in_wheel[f"{NAME}.dist-info/top_level.txt"].split() == ["autopay"]
    assert "py3-none-any" in built.wheel.name


def test_the_source_distribution_builds_the_wheel_and_has_no_tests_and_no_secret(built: Distributions) -> None:
    folders = {name.partition("/")[0] for name in built.in_source if "/" in name}
    assert folders == {"autopay", "autopay.egg-info", "workflows", "activities", "localnet", "alembic", "web"}
    assert PAGE | sources("autopay", "workflows", "activities", "localnet", "alembic") <= built.in_source
    assert {"worker.py", "starter.py", "README.md", "CHANGELOG.md", "pyproject.toml"} <= built.in_source
    assert {"web/package-lock.json", "web/build.py", "web/src/page.js"} <= built.in_source
    assert built.in_source.isdisjoint(NOT_OURS_TO_GIVE)


def test_the_metadata_says_what_the_package_index_and_pip_need(built: Distributions) -> None:
    said = built.metadata
    assert (said["Name"], said["Version"], said["Requires-Python"]) == ("autopay", __version__, ">=3.11")
    assert {"localnet", "dev"} <= set(said.get_all("Provides-Extra", []))
    assert said["Description-Content-Type"] == "text/markdown"
    assert str(said.get_payload()).strip() == (ROOT / "README.md").read_text().strip()
    assert built.in_wheel[f"{NAME}.dist-info/entry_points.txt"].split() == [
        "[console_scripts]", "autopay", "=", "autopay.cli.app:main",
    ]  # fmt: skip


@dataclass
class User:
    """Somebody with the installed program, in a directory of their own."""

    directory: Path
    programs: Path

    async def __call__(self, program: str, *arguments: str) -> str:
        """Run a program that must end with 0; its stdout."""
        process = await self.start(program, *arguments)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert process.returncode == 0, f"{arguments} ended with {process.returncode}: {err.decode()}"
        return out.decode()

    async def start(self, program: str, *arguments: str, stderr: int = PIPE) -> Process:
        """Start a program of the environment, or bash."""
        environment = {name: value for name, value in clean_environment().items() if name != "PYTHONPATH"}
        environment |= {"PATH": os.pathsep.join([str(self.programs), "/usr/bin", "/bin"])}
        return await asyncio.create_subprocess_exec(
            str(self.programs / program) if program != "bash" else "/bin/bash",
            *arguments, cwd=self.directory, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=stderr,
        )  # fmt: skip

    @asynccontextmanager
    async def running(self, *arguments: str, ready: str) -> AsyncIterator[str]:
        """A command that runs until Ctrl-C, then ends with 0; the line of its output that says that it is ready."""
        process = await self.start("autopay", *arguments, stderr=STDOUT)
        assert process.stdout is not None
        lines = [""]
        try:
            while ready not in lines[-1]:
                lines.append((await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode())
                assert lines[-1], "".join(lines)
            yield lines[-1]
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            rest, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert process.returncode == 0, "".join(lines) + rest.decode()


@pytest.fixture(scope="module")
def user(built: Distributions, tmp_path_factory: pytest.TempPathFactory) -> User:
    """A new environment with the wheel, and the libraries of this one; modules of the user's own are in the way."""
    place, directory = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("user")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin" / "python"
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "--python", str(python)]
    install = ["install", "--no-deps", "--no-index", "--ignore-installed", str(built.wheel)]
    subprocess.run([*pip, *install], check=True, capture_output=True)
    for name in TAKEN:
        (directory / f"{name}.py").write_text("raise SystemExit('a module of the user, who did not ask for it')\n")
    return User(directory, place / "bin")


IMPORTS = """
import sys
sys.path = [each for each in sys.path if each != sys.argv[1]]
before = set(sys.modules)
import autopay
print(autopay.__file__)
print(*(name for name in set(sys.modules) - before if name.partition(".")[0] not in sys.stdlib_module_names))
for name in ("workflows", "activities", "localnet", "worker", "starter"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} can be imported")
autopay.Client
"""


async def test_importing_the_installed_package_is_cheap_and_leaves_the_names_of_other_modules_to_the_user(
    user: User,
) -> None:
    said = await user("python", "-P", "-c", IMPORTS, str(user.directory))
    file, loaded = said.splitlines()
    assert Path(file).is_relative_to(user.programs.parent)
    assert loaded == "autopay"


async def test_bash_completes_commands_of_the_installed_program(user: User) -> None:
    typed = 'eval "$(autopay --show-completion)"; COMP_WORDS=(autopay req); COMP_CWORD=1; _autopay_completion autopay'
    assert await user("bash", "-c", f'{typed}; echo "${{COMPREPLY[@]}}"') == "request\n"


async def test_the_installed_program_buys_data_from_any_directory(user: User) -> None:
    assert await user("python", "-P", "-m", "autopay", "--version") == f"autopay {__version__}\n"
    async with user.running("up", "--slot-ms", "50", "--json", ready="market_api") as line:
        addresses = json.loads(line)
        assert Path(addresses["home"]) == user.directory / ".autopay"
        async with user.running("worker", ready="worker ready"):
            await user("autopay", "launch", "trader", "--phase", "full", "--allowance", "1")
            feed = f"{addresses['market_api']}/api/market-feed"
            content = await user("autopay", "request", feed, "--agent", "trader", "--id", "one", "--max-price", "0.01")
            assert "quotes" in json.loads(content)
            (row,) = (await user("autopay", "ledger", "show", "--json")).splitlines()
            assert json.loads(row)["request_id"] == "one"
    assert not (user.directory / ".autopay" / "stack.json").exists()
