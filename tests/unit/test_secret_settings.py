"""Secret settings from files and from a command: which there are, which wins, and that nothing of them is told."""

import shlex
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from autopay.adapters.vault import Keyring
from autopay.cli.gateway.run_steps import environment_for
from autopay.domain.errors import SettingsError
from autopay.settings import Settings, secret_sources
from autopay.settings.secret_sources import FROM_FILES
from autopay.temporal.connection import connect_config

KEYRING = Keyring.generate().dump()
SECRET = "hunter2-d0_not-print"
VALUES = {
    "keyring": KEYRING,
    "database_url": f"postgresql://autopay:{SECRET}@db.example/autopay",
    "read_database_url": f"postgresql://reader:{SECRET}@db.example/autopay",
    "solana_rpc_url": f"https://node.example/?api-key={SECRET}",
    "solana_ws_url": f"wss://node.example/?api-key={SECRET}",
    "facilitator_urls": f"https://one.example/{SECRET},https://two.example",
    "facilitator_url": f"https://one.example/{SECRET}",
    "gateway": f"https://gateway.example/t/{SECRET}",
    "gateway_token": SECRET,
}

pytestmark = pytest.mark.usefixtures("no_settings")


def shown(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    if isinstance(value, list):
        return ",".join(value)
    return str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)


def refused() -> str:
    with pytest.raises(SettingsError) as error:
        Settings.load()
    assert SECRET not in str(error.value)
    assert str(error.value).isprintable()
    return str(error.value)


def printing(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def test_every_secret_is_tried_here() -> None:
    assert set(VALUES) == set(FROM_FILES)


@pytest.mark.parametrize("name", FROM_FILES)
def test_a_secret_is_read_from_the_file_that_its_variable_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(VALUES[name] + "\n")
    monkeypatch.setenv(f"AUTOPAY_{name.upper()}", "")
    monkeypatch.setenv(f"AUTOPAY_{name.upper()}_FILE", str(tmp_path / "secret"))
    settings = Settings.load()
    assert shown(settings, name) == VALUES[name]
    assert SECRET not in repr(settings)
    monkeypatch.setenv(f"AUTOPAY_{name.upper()}", VALUES[name])
    assert refused() == f"AUTOPAY_{name.upper()} and AUTOPAY_{name.upper()}_FILE are both set: set one of them"


@pytest.mark.parametrize("name", [each for each in FROM_FILES if each != "gateway_token"])
def test_what_a_file_holds_wrongly_is_named_by_its_variable_and_not_quoted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    monkeypatch.setenv(f"AUTOPAY_{name.upper()}_FILE", str(tmp_path / "secret"))
    assert refused().startswith(f"AUTOPAY_{name.upper()}_FILE names a file whose content is not valid: ")


def test_an_option_wins_over_a_file_which_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPAY_DATABASE_URL_FILE", "/nowhere")
    assert Settings.load(database_url="postgresql://x@y/z").database_url == "postgresql://x@y/z"
    assert refused() == "AUTOPAY_DATABASE_URL_FILE names a file that cannot be read: No such file or directory"


def test_the_name_of_a_file_may_stand_in_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text(KEYRING)
    (tmp_path / ".env").write_text("autopay_keyring_file=secret\n")
    assert Settings.load().keyring.get_secret_value() == KEYRING
    monkeypatch.setenv("AUTOPAY_KEYRING", KEYRING)
    assert refused() == "AUTOPAY_KEYRING and AUTOPAY_KEYRING_FILE are both set: set one of them"


def test_a_command_prints_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPAY_KEYRING_COMMAND", printing(f"print({KEYRING!r})"))
    assert Settings.load().resolve("keyring").keyring.get_secret_value() == KEYRING
    monkeypatch.setenv("AUTOPAY_KEYRING_FILE", "keys")
    assert refused() == "AUTOPAY_KEYRING_FILE and AUTOPAY_KEYRING_COMMAND are both set: set one of them"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (printing(f"import sys; sys.exit({SECRET!r})"), ": the command ended with 1; run it by hand to see why"),
        (printing("import os; os.kill(os.getpid(), 9)"), ": the command ended with -9; run it by hand to see why"),
        (printing("pass"), ": the command printed nothing"),
        (printing(f"import sys; sys.stdout.buffer.write(b'\\xff{SECRET}')"), ": the command printed no UTF-8"),
        ("no-such-command-of-ours", ": the command cannot be started: No such file or directory"),
        (f"/ {SECRET}", ": the command cannot be started: Permission denied"),
        (f"'{SECRET}", " is not valid: a quote is open, or a byte is zero"),
    ],
)
def test_a_command_that_gives_no_keyring_is_told_without_what_it_says(
    command: str, says: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOPAY_KEYRING_COMMAND", command)
    assert refused() == f"AUTOPAY_KEYRING_COMMAND{says}"
    assert SECRET not in "".join(capfd.readouterr())


def test_what_a_command_prints_wrongly_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPAY_KEYRING_COMMAND", printing(f"print({SECRET!r})"))
    assert refused().startswith("what AUTOPAY_KEYRING_COMMAND prints is not valid: should look like 1:")


def test_a_command_has_no_shell_and_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPAY_KEYRING_COMMAND", f"echo x > {tmp_path / 'made'}")
    refused()
    assert not (tmp_path / "made").exists()
    monkeypatch.setattr(secret_sources, "COMMAND_TIMEOUT_S", 0.2)
    monkeypatch.setenv("AUTOPAY_KEYRING_COMMAND", printing("import threading; threading.Event().wait()"))
    assert refused() == "AUTOPAY_KEYRING_COMMAND: the command did not end within 0.2 s"


@pytest.mark.parametrize(
    "variables", [("AUTOPAY_KEYRING_COMMAND",), [f"AUTOPAY_{name.upper()}_FILE" for name in FROM_FILES]]
)
def test_a_process_beside_a_gateway_is_not_told_where_secrets_are(variables: Sequence[str]) -> None:
    found = environment_for(dict.fromkeys(variables, SECRET), "http://127.0.0.1:1", "t" * 16, {})
    assert SECRET not in found.values()


def test_the_key_of_temporal_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    variables = {"TEMPORAL_ADDRESS": "localhost:7233", "TEMPORAL_API_KEY_FILE": str(file)}
    assert connect_config(variables).get("api_key") == SECRET
    with pytest.raises(SettingsError, match="TEMPORAL_API_KEY and TEMPORAL_API_KEY_FILE are both set"):
        connect_config({**variables, "TEMPORAL_API_KEY": "x"})
    file.chmod(stat.S_IRUSR | stat.S_IWOTH)
    with pytest.raises(SettingsError, match="TEMPORAL_API_KEY_FILE names a file that may be written by everybody"):
        connect_config(variables)
