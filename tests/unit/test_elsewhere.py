"""Settings that lead away from an embedded stack are named before a worker or the demo uses them."""

from pathlib import Path

import pytest

from autopay.cli.connect.elsewhere import elsewhere_line, settings_elsewhere
from autopay.cli.demo.demo import check_settings as check_demo
from autopay.cli.operate.up import check_settings as check_up
from autopay.domain.errors import SettingsError
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile

SECRET = "s3cr3t"
SOCKET = "postgresql://autopay@/autopay?host=/tmp/home/postgres&port=55432"
MINT = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"


@pytest.fixture(autouse=True)
def _clean(no_settings: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where Temporal's own profiles are


def stack() -> StackFile:
    """The addresses of a stack on the usual ports."""
    return StackFile(
        pid=1,
        born="",
        home="/tmp/home",  # noqa: S108 (never opened)
        temporal="127.0.0.1:7233",
        temporal_ui="http://127.0.0.1:8233",
        codec="http://127.0.0.1:8234",
        database_url=SOCKET,
        work_url=SOCKET,
        solana_rpc="http://127.0.0.1:8899",
        solana_ws="ws://127.0.0.1:8900",
        facilitator="http://127.0.0.1:8402",
        market_api="http://127.0.0.1:8403",
        knowledge_api="http://127.0.0.1:8404",
        slot_ms=400,
        usdc_mint=MINT,
        cash_mint=MINT,
    )


ELSEWHERE = [
    pytest.param("AUTOPAY_SOLANA_RPC_URL", f"https://rpc.example/?api-key={SECRET}", id="chain"),
    pytest.param("AUTOPAY_SOLANA_RPC_URL", "http://127.0.0.1:8898", id="another-local-chain"),
    pytest.param("AUTOPAY_SOLANA_WS_URL", f"wss://rpc.example/{SECRET}", id="chain-websocket"),
    pytest.param("AUTOPAY_NETWORK", "mainnet", id="network"),
    pytest.param("AUTOPAY_DATABASE_URL", f"postgresql://me:{SECRET}@db.example/autopay", id="ledger"),
    pytest.param("AUTOPAY_DATABASE_URL", "postgresql://autopay@127.0.0.1/autopay", id="another-local-server"),
    pytest.param("AUTOPAY_DATABASE_URL", "postgresql://autopay@127.0.0.1:55432/other", id="another-database"),
    pytest.param("AUTOPAY_DATABASE_URL", "postgresql://a@127.0.0.1:55432,db:55432/autopay", id="one-host-of-two"),
    pytest.param("AUTOPAY_CASH_MINT", "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin", id="cash"),
    pytest.param("AUTOPAY_FACILITATOR_URLS", f"https://{SECRET}.example", id="facilitator"),
    pytest.param("TEMPORAL_ADDRESS", "temporal.example:7233", id="temporal"),
    pytest.param("TEMPORAL_ADDRESS", "127.0.0.1:7234", id="another-local-temporal"),
    pytest.param("TEMPORAL_NAMESPACE", "payments", id="namespace"),
    pytest.param("TEMPORAL_API_KEY", SECRET, id="temporal-key"),
    pytest.param("TEMPORAL_TLS", "true", id="temporal-tls"),
]


@pytest.mark.parametrize("place", ["environment", ".env"])
@pytest.mark.parametrize(("name", "value"), ELSEWHERE)
def test_what_leads_elsewhere_is_named_and_never_quoted(
    name: str, value: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == ".env":
        (tmp_path / ".env").write_text(f"{name}={value}\n")
    else:
        monkeypatch.setenv(name, value)
    clauses = settings_elsewhere(Settings.load(), stack())
    assert [each.partition(" ")[0] for each in clauses] == [name]
    assert elsewhere_line(clauses).endswith(f". Unset {name} in the environment and in .env")
    assert SECRET not in elsewhere_line(clauses)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("AUTOPAY_SOLANA_RPC_URL", "http://localhost:8899/", id="chain-by-another-name"),
        pytest.param("AUTOPAY_SOLANA_WS_URL", "ws://localhost:8900", id="websocket"),
        pytest.param("AUTOPAY_DATABASE_URL", SOCKET, id="ledger"),
        pytest.param("AUTOPAY_DATABASE_URL", SOCKET.replace("autopay@", "autopay_work@"), id="another-role"),
        pytest.param("AUTOPAY_DATABASE_URL", "postgresql://autopay@localhost:55432/autopay", id="ledger-over-tcp"),
        pytest.param("AUTOPAY_FACILITATOR_URLS", "https://other.example,http://localhost:8402", id="one-of-two"),
        pytest.param("AUTOPAY_CASH_MINT", MINT, id="cash"),
        pytest.param("AUTOPAY_NETWORK", "localnet", id="network"),
        pytest.param("TEMPORAL_ADDRESS", "localhost:7233", id="temporal"),
        pytest.param("TEMPORAL_NAMESPACE", "default", id="namespace"),
        pytest.param("AUTOPAY_SLOT_MS", "50", id="slots"),
    ],
)
def test_another_spelling_of_the_stacks_own_address_leads_nowhere_else(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert settings_elsewhere(Settings.load(), stack()) == []


def test_a_profile_of_temporals_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text('[profile.default]\naddress = "far.example:7233"\n')
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    assert settings_elsewhere(Settings.load(), stack()) == [
        "TEMPORAL_CONFIG_FILE (another Temporal than 127.0.0.1:7233)"
    ]


def test_a_worker_and_the_demo_are_refused_and_a_bare_stack_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", "https://rpc.example")
    settings = Settings.load()
    with pytest.raises(SettingsError, match=r"because of AUTOPAY_SOLANA_RPC_URL \(another chain than"):
        check_up(settings, stack(), 1)
    with pytest.raises(SettingsError, match="the demo plays on the embedded stack only, but: AUTOPAY_SOLANA_RPC_URL"):
        check_demo(settings, stack())
    check_up(settings, stack(), 0)
    assert "do not use all of this stack: AUTOPAY_SOLANA_RPC_URL" in capsys.readouterr().err
