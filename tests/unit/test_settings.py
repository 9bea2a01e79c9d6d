"""Settings: which win, which are refused, and what is taken from a running embedded stack."""

import os
from pathlib import Path

import pytest

from autopay.adapters.vault import Keyring
from autopay.domain.errors import SettingsError
from autopay.domain.network import Network
from autopay.processes import own_start_time
from autopay.settings import Settings
from autopay.settings.stack_file import KEYRING_FILE, StackFile, running_stack
from autopay.temporal.connection import TemporalUnreachable, connect

pytestmark = pytest.mark.usefixtures("no_settings")


def stack_file(home: Path, *, pid: int | None = None, born: str | None = None) -> StackFile:
    """A stack that seems to run in this process."""
    file = StackFile(
        pid=os.getpid() if pid is None else pid,
        born=own_start_time() if born is None else born,
        home=str(home),
        temporal="127.0.0.1:7000",
        temporal_ui="http://127.0.0.1:8000",
        codec="http://127.0.0.1:8001",
        database_url="postgresql://stack@/autopay",
        work_url="postgresql://worker@/autopay",
        solana_rpc="http://127.0.0.1:9000",
        solana_ws="ws://127.0.0.1:9100",
        facilitator="http://127.0.0.1:9001",
        market_api="http://127.0.0.1:9002",
        knowledge_api="http://127.0.0.1:9003",
        slot_ms=50,
        usdc_mint="usdc",
        cash_mint="cash",
    )
    home.mkdir(exist_ok=True)
    file.write(home)
    (home / KEYRING_FILE).write_text("1:secret\n")
    return file


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("AUTOPAY_SLOTMS", "5", "AUTOPAY_SLOTMS is not a setting: did you mean AUTOPAY_SLOT_MS?"),
        ("AUTOPAY_SLOT_MS", "fast", "AUTOPAY_SLOT_MS=fast is not valid"),
        ("AUTOPAY_NETWORK", "testnet", "AUTOPAY_NETWORK=TESTNET is not valid"),
        ("AUTOPAY_SOLANA_RPC_URL", "localhost:8899", "should start with http:// or https://"),
        ("AUTOPAY_SOLANA_RPC_URL", "http://node:70000", "a port that is not a number"),
        ("AUTOPAY_FACILITATOR_URLS", "https://a.example,b.example", "should start with http:// or https://"),
        ("AUTOPAY_FACILITATOR_URLS", "https://a.example:70000", "a port that is not a number"),
        ("AUTOPAY_SOLANA_WS_URL", "http://x", "should start with ws:// or wss://"),
        ("AUTOPAY_ALLOWED_PRIVATE_HOSTS", "10.0.0.0/8,10.0.0.1/8", "10.0.0.1/8 has host bits set"),
        ("AUTOPAY_ALLOWED_PRIVATE_HOSTS", "shop_", "neither a host nor a network"),
        ("AUTOPAY_LOG_FORMAT", "xml", "'auto', 'json' or 'console'"),
        (
            "AUTOPAY_METRICS",
            "shop.example:1",
            "AUTOPAY_METRICS=shop.example:1 is not valid: should",
        ),
        ("AUTOPAY_METRICS", "300.0.0.1:9464", "300.0.0.1 is not an IP address"),
        ("AUTOPAY_METRICS", "127.0.0.1:65536", "a port that is not a number from 0 to 65535"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert says in str(refused.value)
    assert variable in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_setting_in_the_env_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AUTOPAY_DATABASE=postgresql://x\nOTHER=1\n")
    with pytest.raises(SettingsError, match="AUTOPAY_DATABASE is not a setting"):
        Settings.load()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("AUTOPAY_DATABASE_URL", "mysql://user:hunter2@host/db"), ("AUTOPAY_KEYRING", "1:hunter2")],
)
def test_a_secret_is_never_quoted_in_an_error(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert "hunter2" not in str(refused.value)


def test_secrets_are_not_in_the_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", "postgresql://user:hunter2@host/db")
    monkeypatch.setenv("AUTOPAY_KEYRING", f"1:{'hunter3'.ljust(43, 'A')}=")
    assert "hunter" not in repr(Settings.load())


@pytest.mark.parametrize("name", ["devnet", "DEVNET", "localnet", "Localnet"])
def test_localnet_stands_for_devnet(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("AUTOPAY_NETWORK", name)
    assert Settings.load().network is Network.DEVNET


def test_hosts_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPAY_ALLOWED_HTTP_HOSTS", "a.internal, b.internal:80")
    monkeypatch.setenv("AUTOPAY_ALLOWED_PRIVATE_HOSTS", "10.0.0.0/8, *.internal,fd00::5")
    assert Settings.load().allowed_http_hosts == ["a.internal", "b.internal:80"]
    assert Settings.load().allowed_private_hosts == ["10.0.0.0/8", "*.internal", "fd00::5"]


def test_what_is_missing_is_named_with_a_way_out() -> None:
    with pytest.raises(SettingsError, match=r"AUTOPAY_DATABASE_URL is not set.*autopay up"):
        Settings.load().resolve()


def test_only_what_is_needed_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", "postgresql://me@host/db")
    assert Settings.load().resolve("database_url").database_url == "postgresql://me@host/db"


def test_a_running_stack_fills_what_is_not_set(tmp_path: Path) -> None:
    stack = stack_file(tmp_path / "home")
    settings = Settings.load(home=tmp_path / "home").resolve()
    assert settings.database_url == stack.database_url
    assert settings.solana_rpc_url == stack.solana_rpc
    assert settings.slot_ms == 50
    assert settings.cash_mint == "cash"
    assert settings.keyring.get_secret_value() == "1:secret"
    assert settings.on_localnet


def test_the_stacks_database_is_had_as_its_workers_and_as_its_owner(tmp_path: Path) -> None:
    stack = stack_file(tmp_path / "home")
    settings = Settings.load(home=tmp_path / "home").resolve()
    assert settings.for_work().database_url == stack.work_url != stack.database_url
    assert settings.for_work().for_owner().database_url == settings.for_owner().database_url == stack.database_url


def test_an_explicit_setting_wins_over_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack_file(tmp_path / "home")
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", "postgresql://me@host/db")
    monkeypatch.setenv("AUTOPAY_SLOT_MS", "400")
    settings = Settings.load(home=tmp_path / "home").resolve()
    assert settings.database_url == "postgresql://me@host/db"
    assert settings.slot_ms == 400


def test_another_chain_is_not_mixed_with_the_stacks_mints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack_file(tmp_path / "home")
    monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", "https://api.devnet.solana.com")
    settings = Settings.load(home=tmp_path / "home").resolve()
    assert not settings.on_localnet
    assert settings.cash_mint == ""
    assert settings.solana_ws_url == "wss://api.devnet.solana.com"


@pytest.mark.parametrize(
    ("rpc_url", "ws_url"),
    [
        ("https://api.devnet.solana.com", "wss://api.devnet.solana.com"),
        ("https://rpc.example.com/?api-key=k", "wss://rpc.example.com/?api-key=k"),
        ("http://localhost:8899", "ws://localhost:8900"),
        ("http://me:word@[::1]:8899/path", "ws://me:word@[::1]:8900/path"),
        ("http://[::1]/", "ws://[::1]/"),
        ("http://127.0.0.1:9000", "ws://127.0.0.1:9100"),  # the stack's own
    ],
)
def test_the_websocket_is_where_clients_look_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rpc_url: str, ws_url: str
) -> None:
    stack_file(tmp_path / "home")
    monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", rpc_url)
    assert Settings.load(home=tmp_path / "home").resolve("solana_rpc_url").solana_ws_url == ws_url


def test_mainnet_takes_neither_ledger_nor_keyring_of_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack_file(tmp_path / "home")
    monkeypatch.setenv("AUTOPAY_NETWORK", "mainnet")
    monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", "https://rpc.example.com")
    with pytest.raises(SettingsError, match="AUTOPAY_DATABASE_URL is not set: MAINNET"):
        Settings.load(home=tmp_path / "home").resolve()
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", "postgresql://me@host/db")
    with pytest.raises(SettingsError, match="AUTOPAY_KEYRING is not set: MAINNET"):
        Settings.load(home=tmp_path / "home").resolve()


def test_a_stack_whose_process_is_gone_does_not_count(tmp_path: Path) -> None:
    stack_file(tmp_path / "home", born="another process of that number")
    assert running_stack(tmp_path / "home") is None


def test_a_damaged_stack_file_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text('{"pid": 1')
    assert running_stack(tmp_path) is None


async def test_without_an_address_temporal_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TEMPORAL_ADDRESS is not set"):
        await connect(Settings.load(home=tmp_path))


async def test_an_unreachable_temporal_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("AUTOPAY_KEYRING", Keyring.generate().dump())
    with pytest.raises(TemporalUnreachable, match=r"does not answer: 127\.0\.0\.1:1 \(connection refused\)"):
        await connect(Settings.load())


async def test_without_a_keyring_nothing_is_sent_to_temporal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    with pytest.raises(SettingsError, match="AUTOPAY_KEYRING is not set"):
        await connect(Settings.load())


def test_facilitators_are_a_list_and_the_older_single_one_is_read_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().facilitators == []
    monkeypatch.setenv("AUTOPAY_FACILITATOR_URL", "https://a.example")
    assert Settings.load().facilitators == ["https://a.example"]
    monkeypatch.setenv("AUTOPAY_FACILITATOR_URLS", "https://b.example/x, https://a.example,")
    assert Settings.load().facilitators == ["https://b.example/x", "https://a.example"]


def test_the_embedded_stack_leaves_the_facilitator_to_the_seller(tmp_path: Path) -> None:
    stack_file(tmp_path / "home")
    assert Settings.load(home=tmp_path / "home").resolve().facilitators == []


@pytest.mark.parametrize(
    ("value", "means"),
    [
        ("9464", "127.0.0.1:9464"),
        ("localhost:0", "127.0.0.1:0"),
        (" 0.0.0.0:9464", "0.0.0.0:9464"),
        ("[::1]:9464", "[::1]:9464"),
        ("", ""),
    ],
)
def test_metrics_are_on_loopback_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, value: str, means: str) -> None:
    monkeypatch.setenv("AUTOPAY_METRICS", value)
    assert Settings.load().metrics == means
