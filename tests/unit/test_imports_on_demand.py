"""What a command line loads: nobody waits for libraries that are not used."""

from pathlib import Path

import pytest

from autopay.cli.commands import COMMANDS
from tests.loaded import loaded_by

LIBRARIES = frozenset(("temporalio", "sqlalchemy", "alembic", "solana", "solders", "x402", "httpx", "psycopg"))
"""What commands do their work with; each takes as long to import as everything else of a `--help`."""


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
