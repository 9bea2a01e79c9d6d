"""Writes the server into the configuration of an MCP client, and keeps all else that is in the file."""

import json
import os
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import tomlkit
from tomlkit.exceptions import TOMLKitError

from autopay.client.errors import CallFailed, InvalidCall

MOST_BYTES = 20_000_000


@dataclass(frozen=True)
class McpClient:
    """An MCP client: where its configuration is, and in which shape.

    `key` names the table of servers; `typed`: an entry says that it is `stdio`; `extra`: time-outs long enough for a
    payment, where the client has such settings; `then`: what its user does next.
    """

    title: str
    path: Callable[[], Path]
    key: str = "mcpServers"
    kind: Literal["json", "toml"] = "json"
    typed: bool = False
    extra: Mapping[str, Any] | None = None
    then: str = "restart it"


def _home(*parts: str) -> Callable[[], Path]:
    return lambda: Path.home().joinpath(*parts)


def _application(folder: str, *parts: str) -> Callable[[], Path]:
    """Where applications keep the settings of a user, by operating system."""

    def path() -> Path:
        if sys.platform == "darwin":
            return Path.home().joinpath("Library", "Application Support", folder, *parts)
        if sys.platform == "win32":
            return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming").joinpath(folder, *parts)
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config").joinpath(folder, *parts)

    return path


def _codex() -> Path:
    return Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex") / "config.toml"


CLIENTS: Mapping[str, McpClient] = {
    "claude": McpClient(
        "Claude Code (this folder's project)", lambda: Path.cwd() / ".mcp.json", typed=True, then="start it here"
    ),
    "claude-desktop": McpClient("Claude Desktop", _application("Claude", "claude_desktop_config.json")),
    "codex": McpClient(
        "Codex", _codex, key="mcp_servers", kind="toml", extra={"startup_timeout_sec": 30, "tool_timeout_sec": 660}
    ),
    "cursor": McpClient("Cursor", _home(".cursor", "mcp.json")),
    "gemini": McpClient("Gemini CLI", _home(".gemini", "settings.json"), extra={"timeout": 660_000}),
    "vscode": McpClient("VS Code", _application("Code", "User", "mcp.json"), key="servers", typed=True),
    "windsurf": McpClient("Windsurf", _home(".codeium", "windsurf", "mcp_config.json")),
}
"""The clients whose configuration can be written."""


@dataclass(frozen=True)
class Change:
    """What the file is to be: `text` is all of it, `entry` the part with the server. `text` None: it is so already."""

    client: McpClient
    path: Path
    entry: str
    text: str | None
    before: bytes | None


def entry_of(client: McpClient, command: Sequence[str]) -> dict[str, Any]:
    """The server as that client's configuration has it."""
    typed = {"type": "stdio"} if client.typed else {}
    return {**typed, "command": command[0], "args": list(command[1:]), **(client.extra or {})}


def change_of(which: str, name: str, command: Sequence[str]) -> Change:
    """The change of that client's configuration which adds the server, or replaces the one of that name.

    Raises:
        InvalidCall: there is no such client, or its file cannot be read as what it should be: nothing is written then.
    """
    client = CLIENTS.get(which)
    if client is None:
        raise InvalidCall(f"{which!r} is no client that is known: {', '.join(CLIENTS)}")
    path = client.path()
    path = path.resolve() if path.is_symlink() else path
    before = _read(path)
    entry = entry_of(client, command)
    write = _json_with if client.kind == "json" else _toml_with
    alone = write("", client.key, name, entry)
    assert alone is not None
    try:
        after = write("" if before is None else before.decode("utf-8-sig"), client.key, name, entry)
    except (ValueError, TOMLKitError) as error:
        raise InvalidCall(
            f"{path} is not what {client.title} should have there ({error}): nothing was written. Mend it, or add this "
            f"by hand:\n{alone}"
        ) from None
    return Change(client, path, alone, after, before)


def write_change(change: Change) -> Path | None:
    """Write the file, and before that a copy of what is there; returns the copy.

    Raises:
        CallFailed: it cannot be written.
    """
    assert change.text is not None
    copy = None
    try:
        change.path.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o600
        if change.before is not None:
            mode = change.path.stat().st_mode & 0o777
            copy = change.path.with_name(f"{change.path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S}.bak")
            _write(copy, change.before, mode)
        _write(change.path, change.text.encode(), mode)
    except OSError as error:
        raise CallFailed(f"{change.path} cannot be written: {error.strerror}") from None
    return copy


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            found = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidCall(f"{path} cannot be read: {error.strerror}") from None
    if len(found) > MOST_BYTES:
        raise InvalidCall(f"{path} is larger than {MOST_BYTES} bytes: that is no configuration")
    return found


def _write(path: Path, content: bytes, mode: int) -> None:
    """All of it or nothing: a reader never finds half of a file."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    new = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
        new.chmod(mode)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _json_with(text: str, key: str, name: str, entry: dict[str, Any]) -> str | None:
    """The JSON text with that server; None when it has it already.

    Raises:
        ValueError: no JSON object, one with a name twice, or its servers are none.
    """
    root = json.loads(text, object_pairs_hook=_no_name_twice) if text.strip() else {}
    servers = root.setdefault(key, {}) if isinstance(root, dict) else None
    if not isinstance(servers, dict):
        raise ValueError(f"it should be a JSON object, and {key!r} in it as well")  # noqa: TRY004 - one kind for all
    there = servers.get(name)
    whole = {**there, **entry} if isinstance(there, dict) else entry  # settings of its owner's, like `env`, stay
    if there == whole:
        return None
    servers[name] = whole
    return json.dumps(root, indent=_indent_of(text), ensure_ascii=False) + "\n"


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _indent_of(text: str) -> int | str:
    """How the file is indented: by its first indented line."""
    for line in text.splitlines():
        blanks = line[: len(line) - len(line.lstrip())]
        if blanks and line.strip():
            return blanks
    return 2


def _toml_with(text: str, key: str, name: str, entry: dict[str, Any]) -> str | None:
    """The TOML text with that server, and every comment where it was; None when it has it already.

    Raises:
        ValueError, TOMLKitError: no TOML, or its servers are no table.
    """
    root = tomlkit.parse(text)
    servers = root.setdefault(key, tomlkit.table(is_super_table=True))
    if not isinstance(servers, dict):
        raise ValueError(f"{key!r} should be a table")  # noqa: TRY004
    there = servers.get(name)
    if isinstance(there, dict) and {field: there.get(field) for field in entry} == entry:
        return None
    if isinstance(there, dict):  # settings of its owner's, like `enabled`, stay
        there.update(entry)
    else:
        table = tomlkit.table()
        table.update(entry)
        servers[name] = table
    after: str = tomlkit.dumps(root)
    expected = tomlkit.parse(text).unwrap()
    expected.setdefault(key, {}).setdefault(name, {}).update(entry)
    if tomllib.loads(after) != expected:  # tomlkit can put a table before names that are none of its own
        raise ValueError(f"{name!r} cannot be added to {key!r} as it is written")
    return after
