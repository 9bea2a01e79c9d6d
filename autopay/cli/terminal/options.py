"""Options that several commands have, and what option values mean.

Every function takes a value as it was typed and raises `typer.BadParameter` with what would be valid. Nothing here is
slow to import, as each command pays for it.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, get_args
from uuid import UUID

import typer
from pydantic_core import from_json

from autopay.bounded_file import read_bounded
from autopay.domain import money
from autopay.domain.money import Currency, to_atomic
from autopay.domain.phase import Phase
from autopay.domain.request import AGENT_NAME_PATTERN, MAX_AGE_S, REQUEST_ID_PATTERN, Method
from autopay.domain.session import MAX_SESSION_S, MAX_TX_LIMIT
from autopay.domain.text import durations
from autopay.domain.text.command_line import command_line
from autopay.domain.text.headers import is_header
from autopay.domain.text.hosts import check_url, parse_host_rule

if TYPE_CHECKING:
    from solders.pubkey import Pubkey

T = TypeVar("T")


class WrongValue(typer.BadParameter):
    """A value that means nothing; says of which option or argument, wherever it was found out."""

    def __init__(self, text: str, message: str) -> None:
        super().__init__(message)
        self.text = text

    def format_message(self) -> str:
        """The message, with the name of the one parameter that has this value."""
        if self.ctx is not None and self.param is None:
            for name, given in self.ctx.params.items():
                if self.text in (given if isinstance(given, list) else [str(given)]):
                    self.param = next(each for each in self.ctx.command.params if each.name == name)  # type: ignore[assignment]
                    break
        return super().format_message()


HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder of the embedded stack, if you use it.", show_default=".autopay")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]
AgentArgument = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's name.")]
RequestIdArgument = Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The id of the request.")]
OwnerKeypairOption = Annotated[
    Path | None, typer.Option(help="File with the owner's key, which signs; used once, stored nowhere.")
]


def completed_by(*words: str) -> Callable[[], list[str]]:
    """What a shell completes the value of an option or argument with, for its `autocompletion`."""
    return lambda: list(words)


complete_currency = completed_by(*Currency)
complete_method = completed_by(*get_args(Method))
complete_phase = completed_by(*(phase.value.lower() for phase in Phase))

DEFAULT_AGENT = "default"
"""Pays when the caller names no agent; launched with test money on the embedded stack."""

DEFAULT_ALLOWANCE = "1.00"
"""What a session may spend when the command or file does not say."""

TxLimitOption = Annotated[
    int | None,
    typer.Option(
        "--tx-limit",
        min=1,
        max=MAX_TX_LIMIT,
        help="How many payments the session allows.",
        show_default="3 demo, 100 interactive, 10000 full",
    ),
]
DurationOption = Annotated[
    str | None,
    typer.Option(
        "--duration", help="How long the session lasts: 1h, 7d.", show_default="1h demo, 1d interactive, 7d full"
    ),
]

MAX_URL_CHARS = 2048  # RequestSpec.url
SHOWN_CHARS = 100
MOST_BODY_BYTES = 1_000_000
"""More than a request can carry, sealed."""


def shown(text: str) -> str:
    """A value as messages quote it: short, and in one line."""
    return ascii(text) if len(text) <= SHOWN_CHARS and not text.isprintable() else repr(text[:SHOWN_CHARS])


def _parsed(parse: Callable[[str], T], text: str) -> T:
    """The value that a parser of the domain reads."""
    try:
        return parse(text)
    except ValueError as error:
        raise WrongValue(text, str(error)) from None


def duration_s(text: str) -> float:
    """Seconds of `90`, `30s`, `200ms`, `2m`, `1.5h` or `7d`."""
    return _parsed(durations.parse_duration, text)


def whole_seconds(text: str) -> int:
    """A duration of at least one second, in whole ones."""
    return _parsed(durations.parse_whole_seconds, text)


def session_s(text: str) -> int:
    """How long a session lasts: at most a year."""
    seconds = whole_seconds(text)
    if seconds > MAX_SESSION_S:
        raise WrongValue(text, f"{shown(text)} is longer than a session may last: at most {MAX_SESSION_S // 86_400}d")
    return seconds


def age_s(text: str) -> int:
    """How old data may be that was bought before: at most a year."""
    seconds = whole_seconds(text)
    if seconds > MAX_AGE_S:
        raise WrongValue(text, f"{shown(text)} is longer than possible: at most {MAX_AGE_S // 86_400}d")
    return seconds


def amount_or_zero(text: str) -> int:
    """Base units of an amount in token units, like `0.01`."""
    return _parsed(to_atomic, text)


def amount_atomic(text: str) -> int:
    """Base units of an amount above zero in token units."""
    amount = amount_or_zero(text)
    if amount == 0:
        raise WrongValue(text, "the amount must be above 0")
    return amount


def currency_of(text: str) -> Currency:
    """USDC or CASH, in any case."""
    return _parsed(money.parse_currency, text)


def phase_of(text: str) -> Phase:
    """A phase, in any case."""
    try:
        return Phase(text.upper())
    except ValueError:
        raise WrongValue(text, f"{shown(text)} is not a phase: demo, interactive or full") from None


def agent_name(text: str) -> str:
    """An agent's name: letters, digits, dot, dash and underscore."""
    if not re.fullmatch(AGENT_NAME_PATTERN, text):
        raise WrongValue(text, f"{shown(text)} is not an agent's name: up to 60 letters, digits, '.', '_' and '-'")
    return text


def request_id(text: str) -> str:
    """A request id: the caller's idempotency key."""
    if not re.fullmatch(REQUEST_ID_PATTERN, text):
        raise WrongValue(text, f"{shown(text)} is not a request id: up to 120 letters, digits and '._:@-'")
    return text


def session_uuid(text: str) -> UUID:
    """A session's id, as `session list` shows it."""
    try:
        return UUID(text)
    except ValueError:
        raise WrongValue(text, f"{shown(text)} is not a session's id; see: {command_line('session', 'list')}") from None


def solana_address(text: str, *, signs: bool = False) -> "Pubkey":
    """An address; one of a wallet, which has a key, when it `signs`."""
    from solders.pubkey import Pubkey

    try:
        key = Pubkey.from_string(text)
    except ValueError:
        raise WrongValue(text, f"{shown(text)} is not a Solana address") from None
    if signs and not key.is_on_curve():
        raise WrongValue(text, f"{text} is not a wallet: nobody can sign for it")
    return key


def host_rules(texts: list[str]) -> tuple[str, ...]:
    """Host rules in lower case, each once."""
    return tuple(dict.fromkeys(_parsed(parse_host_rule, text) for text in texts))


def http_url(text: str) -> str:
    """A URL that can be asked: http or https, with a host."""
    _parsed(check_url, text)
    if len(text) > MAX_URL_CHARS:
        raise WrongValue(text, f"the URL has {len(text)} characters, {MAX_URL_CHARS} are possible")
    return text


def method_of(text: str) -> Method:
    """GET or POST, in any case."""
    match text.upper():
        case "GET":
            return "GET"
        case "POST":
            return "POST"
        case _:
            raise WrongValue(text, f"{shown(text)} is not a method: GET or POST")


def headers_of(lines: list[str]) -> dict[str, str]:
    """Headers given as `Name: value`; the payment's own headers are not the caller's to set."""
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not is_header(name.strip(), value):
            raise WrongValue(line, f"{shown(line)} is not a header like 'Accept: application/json'")
        if name.strip().lower() in ("x-payment", "payment-signature"):
            raise WrongValue(line, f"{name.strip()} carries the payment, which Autopay makes itself")
        headers[name.strip()] = value.strip()
    return headers


def json_body(text: str) -> bytes:
    """The bytes of a JSON text, or of the file after an `@`."""
    if text.startswith("@"):
        try:
            raw = read_bounded(Path(text[1:]), MOST_BODY_BYTES)
        except OSError as error:
            raise WrongValue(text, f"{text[1:]}: {error.strerror}") from None
    else:
        raw = text.encode(errors="surrogateescape")
    try:
        from_json(raw)
    except ValueError as error:
        raise WrongValue(text, f"the body is not JSON in UTF-8: {error}") from None
    return raw
