"""What `mcp --install` makes of the configurations of clients: all else in them stays."""

import json
import stat
import tomllib
from pathlib import Path

import pytest

from autopay.cli.app import run
from autopay.cli.operate.mcp import _may_ask
from autopay.client.errors import InvalidCall
from autopay.mcp.install import CLIENTS, change_of, write_change

COMMAND = ["/opt/autopay", "mcp", "--agent", "research"]
JSON_CLIENTS = [name for name, client in CLIENTS.items() if client.kind == "json"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home directory, and the current one."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for variable in ("CODEX_HOME", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def install(which: str) -> Path:
    """Write it, where there is something to write; the file."""
    change = change_of(which, "autopay", COMMAND)
    if change.text is not None:
        write_change(change)
    return change.path


@pytest.mark.parametrize("which", JSON_CLIENTS)
def test_a_json_configuration_is_made(which: str) -> None:
    servers = json.loads(install(which).read_text())[CLIENTS[which].key]
    assert (servers["autopay"]["command"], servers["autopay"]["args"]) == (COMMAND[0], COMMAND[1:])
    assert change_of(which, "autopay", COMMAND).text is None, "there is nothing to do the second time"


@pytest.mark.parametrize(
    ("which", "place"),
    [
        ("claude", ".mcp.json"),
        ("codex", ".codex/config.toml"),
        ("cursor", ".cursor/mcp.json"),
        ("gemini", ".gemini/settings.json"),
        ("windsurf", ".codeium/windsurf/mcp_config.json"),
    ],
)
def test_it_is_where_the_client_looks(which: str, place: str, home: Path) -> None:
    assert install(which) == home / place


@pytest.mark.parametrize("which", JSON_CLIENTS)
def test_all_else_in_a_json_configuration_stays(which: str) -> None:
    client = CLIENTS[which]
    file = client.path()
    file.parent.mkdir(parents=True, exist_ok=True)
    other = {"command": "x", "args": []}
    before = {"theme": "dünkel", client.key: {"other": other, "autopay": {"command": "old", "env": {"A": "b"}}}}
    file.write_text(json.dumps(before, indent=4, ensure_ascii=False))
    file.chmod(0o640)
    text = install(which).read_text()
    after = json.loads(text)
    assert (after["theme"], after[client.key]["other"]) == ("dünkel", other)
    assert after[client.key]["autopay"]["command"] == COMMAND[0]
    assert after[client.key]["autopay"]["env"] == {"A": "b"}, "what its owner set for it"
    assert '\n    "theme": "dünkel"' in text, "as it was indented and written"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    (copy,) = file.parent.glob(f"{file.name}.*.bak")
    assert json.loads(copy.read_text()) == before


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"a": 1, // a comment\n}', id="comments"),
        pytest.param('{"a": 1', id="cut"),
        pytest.param("[]", id="a list"),
        pytest.param('{"mcpServers": [], "servers": []}', id="servers that are a list"),
        pytest.param('{"a": 1, "a": 2}', id="a name twice"),
        pytest.param("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), id="no UTF-8"),
    ],
)
@pytest.mark.parametrize("which", ["cursor", "vscode"])
def test_a_file_that_cannot_be_read_is_left_as_it_is(which: str, text: str) -> None:
    file = CLIENTS[which].path()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidCall, match="nothing was written") as refused:
        install(which)
    assert COMMAND[0] in str(refused.value), "it says what to add by hand"
    assert file.read_bytes() == text.encode("latin-1")
    assert list(file.parent.iterdir()) == [file]


def test_codex_keeps_its_comments_and_tables() -> None:
    file = CLIENTS["codex"].path()
    file.parent.mkdir()
    file.write_text('# mine\nmodel = "o9"  # the best\n\n[mcp_servers.other]\ncommand = "x"\n\n[tui]\ntheme = "a"\n')
    text = install("codex").read_text()
    after = tomllib.loads(text)
    assert after["mcp_servers"]["autopay"]["args"] == COMMAND[1:]
    assert (after["mcp_servers"]["other"], after["tui"]) == ({"command": "x"}, {"theme": "a"})
    assert text.startswith('# mine\nmodel = "o9"  # the best\n')
    assert change_of("codex", "autopay", COMMAND).text is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("model = \n", id="no TOML"),
        pytest.param('mcp_servers = "none"\n', id="servers that are a text"),
        pytest.param("[mcp_servers.a]\nx = 1\n[mcp_servers.a]\n", id="a table twice"),
        pytest.param("mcp_servers = { a = { x = 1 } }\n", id="servers in one line"),
        pytest.param('mcp_servers.a.x = 1\nmodel = "o9"\n', id="servers as dotted names"),
    ],
)
def test_a_toml_file_that_cannot_take_it_is_left_as_it_is(text: str) -> None:
    file = CLIENTS["codex"].path()
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(InvalidCall, match="nothing was written"):
        install("codex")
    assert file.read_text() == text


def test_a_link_is_followed_and_stays_a_link(home: Path) -> None:
    real = home / "dotfiles" / "mcp.json"
    real.parent.mkdir()
    real.write_text("{}")
    link = CLIENTS["cursor"].path()
    link.parent.mkdir()
    link.symlink_to(real)
    install("cursor")
    assert link.is_symlink()
    assert "autopay" in json.loads(real.read_text())["mcpServers"]


def test_an_unknown_client_is_named_with_those_that_are_known() -> None:
    with pytest.raises(InvalidCall, match="'emacs' is no client that is known: claude, claude-desktop, codex"):
        install("emacs")


def test_the_command_writes_how_the_server_is_started_from_any_folder(
    home: Path, no_settings: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["mcp", "--install", "cursor", "--agent", "research", "--max-price", "0.050", "--home", "stack"]) == 0
    entry = json.loads(CLIENTS["cursor"].path().read_text())["mcpServers"]["autopay"]
    assert Path(entry["command"]).is_absolute()
    words = entry["args"][entry["args"].index("mcp") :]
    assert words == [
        "mcp", "--agent", "research", "--max-price", "0.05", "--home", str(home / "stack"), "--directory", str(home),
    ]  # fmt: skip
    assert "restart it" in capsys.readouterr().err


def test_what_would_be_written_is_shown_and_variables_that_the_client_does_not_have_are_named(
    no_settings: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/d")
    assert run(["mcp", "--install", "codex", "--no-elicitation", "--print"]) == 0
    shown = capsys.readouterr()
    assert "--no-elicitation" in tomllib.loads(shown.out)["mcp_servers"]["autopay"]["args"]
    assert not CLIENTS["codex"].path().exists()
    assert "AUTOPAY_DATABASE_URL" in shown.err
    assert "hunter2" not in shown.out + shown.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--port", "1"], "say --http as well"),
        (["--token-file", "x"], "say --http as well"),
        (["--print"], "name the client as well"),
        (["--install", "codex", "--http"], "leave --http out"),
        (["--install", "emacs"], "is no client that is known"),
        (["--directory", "nowhere"], "--directory nowhere: No such file or directory"),
    ],
)
def test_options_that_do_not_go_together_are_named(
    words: list[str], says: str, no_settings: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["mcp", *words]) == 2
    assert says in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("wanted", "over_http", "gateway", "asks"),
    [
        pytest.param(None, False, "", True, id="stdio"),
        pytest.param(False, False, "", False, id="stdio, switched off"),
        pytest.param(None, True, "", False, id="HTTP"),
        pytest.param(True, True, "", True, id="HTTP, switched on"),
        pytest.param(None, False, "http://127.0.0.1:8405", False, id="over a gateway"),
    ],
)
def test_when_a_person_may_decide_in_a_dialog(
    wanted: bool | None, over_http: bool, gateway: str, asks: bool, no_settings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOPAY_GATEWAY", gateway)
    assert _may_ask(wanted, over_http=over_http, home=None) == asks


def test_nothing_is_approved_over_a_gateway(
    no_settings: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOPAY_GATEWAY", "http://127.0.0.1:8405")
    assert run(["mcp", "--elicitation"]) == 2
    assert "nothing is approved over a gateway" in capsys.readouterr().err


def test_a_server_over_stdio_needs_a_client(
    no_settings: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["mcp"]) == 2, "pytest takes the standard input away"
    monkeypatch.setattr("sys.stdin", None)
    assert run(["mcp"]) == 2
    assert capsys.readouterr().err.count("an MCP client starts it") == 2
