"""What a command line loads: nobody waits for libraries that are not used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from autopay.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]

LIBRARIES = frozenset(("temporalio", "sqlalchemy", "alembic", "solana", "solders", "x402", "httpx", "psycopg"))
"""What commands do their work with; each takes as long to import as everything else of a `--help`."""

RUN = """
import json, sys
from autopay.cli.app import run
codes = [run(line) for line in json.loads(sys.argv[1])]
print(json.dumps([codes, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def loaded_by(tmp_path: Path, *lines: list[str]) -> tuple[list[int], set[str]]:
    """The exit codes of these command lines in one new process, and the packages that it has loaded at the end."""
    command = [sys.executable, "-c", RUN, json.dumps(lines)]
    environment = {"PYTHONPATH": str(ROOT), "AUTOPAY_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    codes, loaded = json.loads(done.stderr.splitlines()[-1])
    return codes, set(loaded)


def test_the_help_loads_neither_models_nor_libraries(tmp_path: Path) -> None:
    codes, loaded = loaded_by(tmp_path, ["--help"])
    assert codes == [0]
    assert loaded.isdisjoint({*LIBRARIES, "pydantic", "rich", "asyncio"})


def test_no_command_loads_for_its_help_what_it_works_with(tmp_path: Path) -> None:
    groups = (["session", "grant"], ["ledger", "verify"], ["policy", "set"], ["db", "upgrade"], ["vault", "rotate"])
    codes, loaded = loaded_by(tmp_path, *([*words, "--help"] for words in (*([name] for name in COMMANDS), *groups)))
    assert codes == [0] * (len(COMMANDS) + len(groups))
    assert loaded.isdisjoint(LIBRARIES)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(["requst"], id="no such command"),
        pytest.param(["request"], id="no URL"),
        pytest.param(["request", "ftp://x"], id="an argument that cannot be"),
        pytest.param(["request", "http://x"], id="a setting that is missing"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_loaded(line: list[str], tmp_path: Path) -> None:
    codes, loaded = loaded_by(tmp_path, line)
    assert codes == [2]
    assert loaded.isdisjoint(LIBRARIES)
