"""The keyring: which key seals, what stays the same while keys rotate, and what is not one."""

import base64
from pathlib import Path

import pytest

import worker
from autopay.adapters.vault import Keyring, Vault
from autopay.cli.app import run
from autopay.domain.errors import SecretUnreadable
from autopay.settings.stack_file import KEYRING_FILE
from localnet.home import Home

KEY = base64.b64encode(b"k" * 32).decode()


pytestmark = pytest.mark.usefixtures("no_settings")


def test_a_new_key_seals_and_every_other_still_opens() -> None:
    first = Keyring.generate()
    rotated = first.with_new_key().with_new_key()
    sealed = Vault(first).seal(b"secret", purpose="a", row="1")
    assert (first.newest, rotated.newest) == (1, 3)
    assert Vault(rotated).open(sealed, purpose="a", row="1") == b"secret"
    assert Vault(rotated).seal(b"secret", purpose="a", row="1").startswith("v3.")


def test_memos_outlive_every_key_but_the_root() -> None:
    first = Keyring.generate()
    root, _, *newer = first.with_new_key().dump().split(",")
    without_the_old_key = Keyring.parse(",".join([root, *newer]))
    assert Vault(without_the_old_key).memo("agent", "request", 1) == Vault(first).memo("agent", "request", 1)
    assert first.with_new_key().old == (1,)
    assert without_the_old_key.old == ()


def test_the_lowest_key_of_a_keyring_without_a_root_must_stay() -> None:
    assert Keyring.parse(f"1:{KEY},2:{KEY},3:{KEY}").old == (2,)


def test_the_root_seals_and_opens_nothing() -> None:
    vault = Vault(Keyring.generate())
    sealed = vault.seal(b"secret", purpose="a", row="1")
    with pytest.raises(SecretUnreadable):
        vault.open("v0" + sealed.removeprefix("v1"), purpose="a", row="1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"0:{KEY}", "version 1 or above"),
        (f"-1:{KEY},1:{KEY}", "count from 1"),
        (f"1:{KEY},1:{KEY}", "version 1 twice"),
        (f"1:{KEY[:-4]}", "32 bytes"),
        ("", "looks like"),
    ],
)
def test_what_is_no_keyring_is_refused_without_quoting_it(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        Keyring.parse(text)
    assert KEY not in str(refused.value)


def test_the_command_makes_one_and_adds_to_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["keyring"]) == 0
    made = capsys.readouterr().out.strip()
    monkeypatch.setenv("AUTOPAY_KEYRING", made)
    assert run(["keyring", "--add"]) == 0
    added = capsys.readouterr().out.strip()
    assert added.startswith(made + ",2:")
    assert Keyring.parse(added).newest == 2


def test_a_new_key_is_added_to_the_keyring_of_a_home_whose_stack_is_stopped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    home.path.mkdir()
    home.make_keyring()
    kept = (home.path / KEYRING_FILE).read_text().strip()
    assert (home.path / KEYRING_FILE).stat().st_mode & 0o777 == 0o600
    assert run(["keyring", "--add", "--home", str(home.path)]) == 0
    assert capsys.readouterr().out.startswith(kept + ",2:")
    assert (home.path / KEYRING_FILE).read_text().strip() == kept
    home.make_keyring()
    assert (home.path / KEYRING_FILE).read_text().strip() == kept, "made once"


def test_there_must_be_a_keyring_to_add_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keyring", "--add"]) == 2
    assert "AUTOPAY_KEYRING is not set" in capsys.readouterr().err


def test_a_worker_without_a_keyring_refuses_to_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", "postgresql://me@127.0.0.1:1/db")
    monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr("sys.argv", ["worker.py"])
    assert worker.main() == 2
    assert "AUTOPAY_KEYRING is not set" in capsys.readouterr().err
