"""Settings as they go wrong in practice: one line that names the setting, and nothing that may be a secret."""

import os
from pathlib import Path

import psycopg
import pytest
from solders.keypair import Keypair

from autopay.adapters.postgres.database.connection import connect_arguments, engine_url, search_path
from autopay.adapters.vault import Keyring
from autopay.cli.terminal.exit_codes import CommandError
from autopay.cli.terminal.files import read_keypair
from autopay.database_url import LIBPQ, parse_database_url
from autopay.domain.errors import SettingsError
from autopay.settings import Settings
from autopay.settings.environment import environment
from autopay.temporal.connection import connect, connect_config

KEYRING = Keyring.generate().dump()
SECRET = "hunter2-d0_not-print"


pytestmark = pytest.mark.usefixtures("no_settings")


def refusal(**variables: str) -> str:
    """What is said of these variables."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        with pytest.raises(SettingsError) as refused:
            Settings.load()
    return str(refused.value)


URLS = ("AUTOPAY_SOLANA_RPC_URL", "AUTOPAY_SOLANA_WS_URL", "AUTOPAY_FACILITATOR_URL", "AUTOPAY_FACILITATOR_URLS")


@pytest.mark.parametrize("variable", URLS)
@pytest.mark.parametrize(
    "value",
    [
        f"node.example/?api-key={SECRET}",
        f"node.example/{SECRET}",
        SECRET,
        f"ftp://node.example/{SECRET}",
        f"SCHEME://node.example:{SECRET}/",
        f"SCHEME://user:{SECRET}@/",
        f"SCHEME://[::1/{SECRET}",
        f"SCHEME:///{SECRET}",
        f"SCHEME://node.example/ {SECRET}",
        f"SCHEME://nöde.example/{SECRET}",
        f"SCHEME://node.example/{SECRET}\nx",
        f"SCHEME://node.example:99999/{SECRET}",
    ],
)
def test_a_url_that_cannot_be_is_named_and_not_quoted(variable: str, value: str) -> None:
    said = refusal(**{variable: value.replace("SCHEME", "wss" if "WS" in variable else "https")})
    assert said.startswith(f"{variable} is not valid: ")
    assert SECRET not in said
    assert said.isprintable()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"mysql://u:{SECRET}@h/d", "postgresql://"),
        (f"u:{SECRET}@h/d", "postgresql://"),
        (f"jdbc:postgresql://h/d?password={SECRET}", "postgresql://"),
        (f"postgresql://u:{SECRET}/x@h/d", "%2F"),
        (f"postgresql://u:{SECRET}#x@h/d", "%2F"),
        (f"postgresql://u:{SECRET}", "port"),
        (f"postgresql://u:x@{SECRET}:54x2/d", "port"),
        (f"postgresql://u:{SECRET}@h:0/d", "port"),
        (f"postgresql://u:{SECRET}@h:٥٤٣٢/d", "port"),
        (f"postgresql://u:{SECRET}@h1:5432,h2:x/d", "port"),
        (f"postgresql://u:{SECRET}@a b/d", "host"),
        (f"postgresql://u:{SECRET}@h/d?sslmode=no-verify", "sslmode"),
        (f"postgresql://u:{SECRET}@h/d?ssl=maybe", "ssl"),
        (f"postgresql://u:{SECRET}@h/d?sslaccept=strict", "'sslaccept'"),
        (f"postgresql://u:{SECRET}@h/d?timeout=5", "'timeout'"),
        (f"postgresql://u:{SECRET}%00@h/d", "zero byte"),
        (f"postgresql://u:{SECRET}\t@h/d", "printed"),
    ],
)
def test_a_database_url_that_cannot_be_is_named_and_not_quoted(url: str, says: str) -> None:
    said = refusal(AUTOPAY_DATABASE_URL=url)
    assert said.startswith("AUTOPAY_DATABASE_URL is not valid: ")
    assert says in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("url", "parameters"),
    [
        ("postgres://u:p@h:6543/d?pgbouncer=true&connection_limit=1", {"host": "h", "port": 6543}),
        ("postgresql+asyncpg://u:p@h/d?ssl=true&prepared_statement_cache_size=0", {"sslmode": "require"}),
        ("postgresql://u:p@h1:5432,h2:5433/d", {"host": "h1,h2", "port": "5432,5433"}),
        ("postgresql://u:p@h1,h2/d?target_session_attrs=primary", {"host": "h1,h2", "port": "5432,5432"}),
        ("postgresql://u:p@/d?host=h1:5432&host=h2:5433", {"host": "h1,h2", "port": "5432,5433"}),
        ("postgresql://u:p@[::1]:5433/d", {"host": "::1", "port": 5433}),
        ("postgresql://u@%2Frun%2Fpg/d", {"host": "/run/pg"}),
        ("postgresql://u:p@ss:w%2Frd@h/d", {"password": "p@ss:w/rd", "host": "h"}),
        ("postgresql://u:p@h?options=endpoint%3Dep-1", {"options": "endpoint=ep-1"}),
        ("postgresql:///d", {"dbname": "d"}),
    ],
)
def test_a_url_as_providers_hand_it_out_is_understood(url: str, parameters: dict[str, object]) -> None:
    read = engine_url(url)
    found = read.translate_connect_args(username="user", database="dbname") | dict(read.query)
    assert found | parameters == found
    # What libpq itself makes of it: nothing is asked of a server.
    psycopg.conninfo.make_conninfo(**found, client_encoding=connect_arguments(read)["client_encoding"])


def test_a_schema_is_quoted_as_it_is_written() -> None:
    assert search_path("postgresql://h/d?schema=MyApp") == '"MyApp"'
    assert search_path('postgresql://h/d?schema=a"; DROP') == '"a""; DROP"'
    assert search_path("postgresql://h/d?schema=public") is None


def test_every_parameter_that_is_passed_on_is_one_of_the_client_library() -> None:
    known = {each.keyword.decode() for each in psycopg.pq.Conninfo.get_defaults()}
    assert known >= LIBPQ


def test_nothing_secret_is_in_what_a_program_may_print(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in URLS:
        monkeypatch.setenv(variable, f"{'ws' if 'WS' in variable else 'http'}://h/{SECRET}")
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", f"postgresql://u:{SECRET}@h/d?password={SECRET}")
    monkeypatch.setenv("AUTOPAY_KEYRING", KEYRING)
    found = Settings.load()
    parts = parse_database_url(found.database_url)
    for text in (repr(found), str(found), repr(parts), str(engine_url(found.database_url).set(query={}))):
        assert SECRET not in text
        assert KEYRING not in text


KEY_FILES = [
    pytest.param(b"", "is empty", id="empty"),
    pytest.param(b" \r\n", "is empty", id="blank"),
    pytest.param(KEYRING.encode("utf-16"), "UTF-16", id="as PowerShell writes it"),
    pytest.param(KEYRING.encode("utf-16-le"), "UTF-16", id="UTF-16 without its mark"),
    pytest.param(KEYRING.encode() + b"\xff", "is not UTF-8", id="no text"),
    pytest.param(b"x" * 200_000, "cannot be read: larger than", id="endless"),
]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        *KEY_FILES,
        pytest.param(SECRET.encode(), "content is not valid: should look like 1:", id="something else"),
        pytest.param(
            f"AUTOPAY_KEYRING={KEYRING}".encode(), "content is not valid: should look like 1:", id="a line of .env"
        ),
        pytest.param(KEYRING.encode()[:-3], "content is not valid: should look like 1:", id="cut"),
    ],
)
def test_a_keyring_file_that_holds_none_is_named_and_not_quoted(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content)
    said = refusal(AUTOPAY_KEYRING_FILE=str(file))
    assert said.startswith("AUTOPAY_KEYRING_FILE names a file ")
    assert says in said
    assert said.isprintable()
    assert not any(part in said for part in (SECRET, KEYRING[2:20]))


def test_a_keyring_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "open").write_text(KEYRING)
    (tmp_path / "open").chmod(0o666)
    for file, says in (("none", "No such file"), ("folder", "Is a directory"), ("~nobody/x", "No such file")):
        said = refusal(AUTOPAY_KEYRING_FILE=file)
        assert said.startswith("AUTOPAY_KEYRING_FILE names a file that cannot be read: ")
        assert says in said
    assert "written by everybody: chmod 600" in refusal(AUTOPAY_KEYRING_FILE="open")
    assert KEYRING not in refusal(AUTOPAY_KEYRING_FILE=KEYRING), "the keyring itself, given as its file's name"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_keyring_file_of_somebody_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(KEYRING)
    (tmp_path / "keys").chmod(0)
    assert "Permission denied" in refusal(AUTOPAY_KEYRING_FILE="keys")


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_keyring_is_read_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, mark: str) -> None:
    (tmp_path / "keys").write_bytes(f"{mark}{KEYRING}{end}".encode())
    (tmp_path / "keys").chmod(0o444)  # as container engines mount secrets
    monkeypatch.setenv("AUTOPAY_KEYRING_FILE", "keys")
    monkeypatch.setenv("AUTOPAY_KEYRING", "")
    found = Settings.load().resolve("keyring")
    assert found.keyring.get_secret_value() == KEYRING
    assert KEYRING not in repr(found)


def test_a_keyring_and_its_file_are_not_both_given(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(KEYRING)
    said = refusal(AUTOPAY_KEYRING=KEYRING, AUTOPAY_KEYRING_FILE="keys")
    assert said == "AUTOPAY_KEYRING and AUTOPAY_KEYRING_FILE are both set: set one of them"


@pytest.mark.parametrize(
    ("content", "says"), [*KEY_FILES, pytest.param(KEYRING.encode(), "solana-keygen", id="something else")]
)
def test_a_wallets_key_file_is_read_as_a_keyrings(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "id.json").write_bytes(content)
    with pytest.raises(CommandError) as refused:
        read_keypair(Path("id.json"), "--keypair")
    assert str(refused.value).startswith("--keypair: id.json ")
    assert says in str(refused.value)
    assert KEYRING[2:20] not in str(refused.value)


def test_a_wallets_key_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    key = Keypair()
    (tmp_path / "id.json").write_text(f"\ufeff{list(bytes(key))}\r\n", encoding="utf-8")
    assert read_keypair(Path("id.json")) == key


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("AUTOPAY_NETWORK=devnet\n".encode("utf-16"), "UTF-8"),
        ("AUTOPAY_NETWORK=devnet\n".encode("utf-16-le"), "UTF-16"),
        ("# Zürich\n".encode("latin-1"), "UTF-8"),
        (f"AUTOPAY_KEYRING '{SECRET}\n".encode(), "line 1"),
        (f"A=1\nB='{SECRET}\n".encode(), "line 2"),
    ],
)
def test_an_env_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / ".env").write_bytes(content)
    said = refusal()
    assert said.startswith(".env")
    assert says in said
    assert SECRET not in said


def test_an_env_file_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert refusal() == ".env cannot be read: Is a directory"


def test_an_env_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfAUTOPAY_SLOT_MS=123\n")
    assert Settings.load().slot_ms == 123


def test_blanks_around_a_url_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", " https://node.example/x\n")
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", "postgresql://h/d\n")
    found = Settings.load()
    assert (found.solana_rpc_url, found.database_url) == ("https://node.example/x", "postgresql://h/d")


def test_a_home_of_nobody_is_named() -> None:
    assert refusal(AUTOPAY_HOME="~nobody-there/x").startswith("AUTOPAY_HOME")


def test_a_keyring_of_the_stack_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    from tests.unit.test_settings import stack_file  # noqa: PLC0415

    stack_file(tmp_path)
    (tmp_path / "keyring").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="keyring"):
        Settings.load(home=tmp_path).resolve()


# Temporal's own settings


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"TEMPORAL_PROFILE": "nope"}, "TEMPORAL_PROFILE is not valid"),
        ({"TEMPORAL_CONFIG_FILE": "/nowhere.toml"}, "TEMPORAL_CONFIG_FILE is not valid"),
        ({"TEMPORAL_CONFIG_FILE": "/"}, "TEMPORAL_CONFIG_FILE is not valid"),
        ({"TEMPORAL_TLS_CLIENT_CERT_PATH": "/nowhere.pem"}, "TEMPORAL_TLS_CLIENT_CERT_PATH is not valid"),
        ({"TEMPORAL_TLS_SERVER_CA_CERT_PATH": "/nowhere.pem"}, "TEMPORAL_TLS_SERVER_CA_CERT_PATH is not valid"),
        ({"TEMPORAL_TLS": "maybe"}, "TEMPORAL_TLS is not valid"),
        ({"TEMPORAL_API_KEY": f"{SECRET}\nx"}, "TEMPORAL_API_KEY is not valid"),
        *(
            ({"TEMPORAL_ADDRESS": address}, "TEMPORAL_ADDRESS is not valid: should be host:port")
            for address in ("foo:bar", "foo", "http://foo:7233", "foo:0", "foo:70000", "::1:7233", "a b:1", "foo:７２")
        ),
    ],
)
def test_a_setting_of_temporals_that_cannot_be_is_named(variables: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        connect_config(variables)
    assert str(refused.value).startswith(says)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("content", [f"api_key = '{SECRET}", "\x00", "[profile.default]\naddress = 5\n"])
def test_a_file_of_temporals_that_cannot_be_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text(content)
    with pytest.raises(SettingsError, match="TEMPORAL_CONFIG_FILE") as refused:
        connect_config({"TEMPORAL_CONFIG_FILE": str(file)})
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_a_certificate_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    for name in ("TEMPORAL_TLS_CLIENT_CERT_PATH", "TEMPORAL_TLS_CLIENT_KEY_PATH"):
        monkeypatch.setenv(name, str(tmp_path / "cert.pem"))
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("AUTOPAY_KEYRING", KEYRING)
    with pytest.raises(SettingsError, match="TEMPORAL_TLS_"):
        await connect(Settings.load())


def test_temporals_settings_are_read_from_the_env_file_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("TEMPORAL_ADDRESS=file:1\nTEMPORAL_NAMESPACE=of-file\n")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "of-environment")
    config = connect_config(environment("TEMPORAL_"))
    assert (config.get("target_host"), config.get("namespace")) == ("file:1", "of-environment")
