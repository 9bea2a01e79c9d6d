"""Secret settings from elsewhere: `AUTOPAY_NAME_FILE` names a file with the value, `AUTOPAY_KEYRING_COMMAND` prints it.

The environment of a process is read by more programs and people than a file of its own. Nothing that a file or a
command says is in any error.
"""

import shlex
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from autopay.domain.errors import SettingsError
from autopay.settings.environment import PREFIX
from autopay.settings.secret_file import SecretFileError, read_secret_text

FROM_FILES = (
    "keyring",
    "database_url",
    "read_database_url",
    "solana_rpc_url",
    "solana_ws_url",
    "facilitator_urls",
    "facilitator_url",
    "gateway",
    "gateway_token",
)
"""Settings that are secret or may hold a secret, each of which a file can hold."""

FROM_COMMANDS = ("keyring",)

SOURCES = frozenset({f"{name}_file" for name in FROM_FILES} | {f"{name}_command" for name in FROM_COMMANDS})
"""The names, as of settings, of what names such a file or command."""

COMMAND_TIMEOUT_S = 60.0
"""Long enough for a person who types a passphrase, or for a key service that is far."""


def secrets_from_elsewhere(
    variables: Mapping[str, str], given: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The values of secret settings that files and commands have.

    Args:
        variables: of the environment and of `.env`, by their names in capitals.
        given: names of settings whose value is known already; their files are not read.

    Returns:
        The values by the setting's name, and where each is from, in words that "... is not valid" may follow.

    Raises:
        SettingsError: a setting has two of these, a file cannot be read, or a command does not end well.
    """
    values: dict[str, str] = {}
    origins: dict[str, str] = {}
    for name in FROM_FILES:
        itself, file, command = (f"{PREFIX}{name.upper()}{suffix}" for suffix in ("", "_FILE", "_COMMAND"))
        known = (itself, file, command) if name in FROM_COMMANDS else (itself, file)
        found = [variable for variable in known if variables.get(variable, "").strip()]
        if name in given or found in ([], [itself]):
            continue
        if len(found) > 1:
            raise SettingsError(f"{' and '.join(found)} are both set: set one of them")
        text = variables[found[0]].strip()
        if found[0] == file:
            values[name], origins[name] = _of_file(file, text), f"{file} names a file whose content"
        else:
            values[name], origins[name] = _of_command(command, text), f"what {command} prints"
    return values, origins


def read_secret_setting(variable: str, file: str) -> str:
    """What the file holds that this variable names.

    Raises:
        SettingsError: it cannot be read.
    """
    return _of_file(variable, file)


def _of_file(variable: str, file: str) -> str:
    try:
        return read_secret_text(Path(file))
    except SecretFileError as error:
        raise SettingsError(f"{variable} names a file that {error}") from None


def _of_command(variable: str, line: str) -> str:
    """What the command prints. It is started without a shell; what it says on stderr is not read."""
    try:
        words = shlex.split(line)
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SettingsError(f"{variable}: the command did not end within {COMMAND_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise SettingsError(f"{variable}: the command cannot be started: {error.strerror}") from None
    except ValueError:
        raise SettingsError(f"{variable} is not valid: a quote is open, or a byte is zero") from None
    if done.returncode:
        raise SettingsError(f"{variable}: the command ended with {done.returncode}; run it by hand to see why")
    try:
        text = done.stdout.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}: the command printed no UTF-8") from None
    if not text:
        raise SettingsError(f"{variable}: the command printed nothing")
    return text
