"""Settings: AUTOPAY_* variables, `.env`, and the addresses of a running embedded stack of the same home.

Temporal's own settings are TEMPORAL_* variables and profiles (temporalio.envconfig).
"""

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from autopay.database_url import parse_database_url
from autopay.domain.agent.spec import AGENT_TASK_QUEUE
from autopay.domain.errors import SettingsError
from autopay.domain.money import Currency
from autopay.domain.network import Network, cash_mint, usdc_mint
from autopay.domain.policy.reach import Reach
from autopay.domain.text.command_line import command_line
from autopay.domain.text.durations import parse_whole_seconds
from autopay.domain.upkeep import SHORTEST_S
from autopay.domain.values import validation_message
from autopay.settings.environment import ENV_ENCODING, ENV_FILE, PREFIX, env_file_values, environment
from autopay.settings.secret_file import SecretFileError, read_secret_text
from autopay.settings.secret_sources import FROM_FILES, SOURCES, secrets_from_elsewhere
from autopay.settings.stack_file import KEYRING_FILE, StackFile, running_stack
from autopay.settings.urls import checked_address, checked_url, websocket_url_of

DEFAULT_HOME = Path(".autopay")

SECRET = frozenset((*FROM_FILES, *SOURCES, "anchor_keypair"))  # a secret is pasted easily where its file belongs
"""Settings whose values are secrets or may hold one: never shown."""

SHOWN_CHARS = 60

_KEYRING = re.compile(r"\d+:[A-Za-z0-9+/]{43}=(,\s*\d+:[A-Za-z0-9+/]{43}=)*", re.ASCII)

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,512}", re.ASCII)
"""Of a gateway: what stands in a URL's path and in a header as it is."""

NO_KEYRING = "should look like 1:<base64 of 32 bytes>; make one: {make}"

NEEDED = ("database_url", "solana_rpc_url", "keyring")
"""What a worker cannot do without."""


class Settings(BaseSettings):
    """What the environment says; `""` is "not set".

    Build it with `Settings.load()`, which turns mistakes into `SettingsError`, then `resolve()` it.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding=ENV_ENCODING,
        extra="ignore",
        validate_default=False,
        hide_input_in_errors=True,
    )

    home: Path = Field(DEFAULT_HOME, description="Where the embedded stack keeps its state")
    database_url: str = Field("", repr=False, description="postgresql://user:password@host/database")
    read_database_url: str = Field(
        "", repr=False, description="The same database as a role that only reads, for what `serve` shows"
    )
    solana_rpc_url: str = Field("", repr=False, description="JSON-RPC of a Solana node")
    solana_ws_url: str = Field(
        "", repr=False, description="WebSocket of the same node; derived from the RPC URL when not set"
    )
    network: Network = Field(Network.DEVNET, description="DEVNET or MAINNET; 'localnet' means the embedded chain")
    facilitator_urls: Annotated[list[str], NoDecode] = Field(
        [],
        repr=False,
        description="When set, the /supported of one of them must list a payment's fee payer; comma separated",
    )
    facilitator_url: str = Field("", repr=False, description="The older name of a list of one")
    facilitator_verify: bool = Field(False, description="Ask the payment's facilitator to verify it before it leaves")
    keyring: SecretStr = Field(SecretStr(""), description="Keys that seal secrets; the command `keyring` makes them")
    cash_mint: str = Field("", description="Phantom CASH's mint, where the network does not have a public one")
    slot_ms: int = Field(400, ge=1, le=10_000, description="Milliseconds a slot takes on this network")
    task_queue: str = Field(AGENT_TASK_QUEUE, min_length=1, max_length=200)
    build_id: str = Field(
        "",
        max_length=100,
        pattern=r"^[A-Za-z0-9._+-]*$",
        description="This worker's build, which `rollout` names",
    )
    body_limit_bytes: int = Field(5_000_000, ge=1_000, le=100_000_000, description="Of what is kept of a free answer")
    paid_body_limit_bytes: int = Field(
        50_000_000, ge=1_000, le=500_000_000, description="Of what is kept of an answer that was paid for"
    )
    request_timeout_s: float = Field(120, gt=0, le=3_600)
    content_ask_s: float = Field(
        600, ge=1, le=86_400, description="Seconds for which a seller is asked for what is paid, by the payment itself"
    )
    content_ask_later_s: float = Field(
        86_400, ge=0, le=30 * 86_400, description="Seconds for which it is asked then, at longer and longer intervals"
    )
    reconcile_every: int | None = Field(None, ge=SHORTEST_S, description="`upkeep` reconciles so often, like 1d")
    verify_every: int | None = Field(None, ge=SHORTEST_S, description="`upkeep` verifies so often")
    anchor_every: int | None = Field(None, ge=SHORTEST_S, description="`upkeep` anchors so often")
    prune_every: int | None = Field(None, ge=SHORTEST_S, description="`upkeep` prunes so often")
    keep_content: int | None = Field(None, ge=SHORTEST_S, description="What it prunes is older than this, like 90d")
    anchor_keypair: str = Field("", description="Key file (Solana CLI) of the wallet that pays for ledger anchors")
    allowed_http_hosts: Annotated[list[str], NoDecode] = Field(
        [], description="Hosts that may be asked over plain http, comma separated; loopback always may"
    )
    allowed_private_hosts: Annotated[list[str], NoDecode] = Field(
        [], description="Hosts, addresses and networks (CIDR) that may be asked although they are not public"
    )
    nexus_agents: Annotated[list[str], NoDecode] = Field(
        [], description="Agents that other teams' workflows may have pay, the first by default; none: every agent"
    )
    gateway: str = Field("", repr=False, description="Address of an HTTP gateway that clients work through")
    gateway_token: SecretStr = Field(
        SecretStr(""), description="What clients show to the gateway, and it wants to be shown: 16 characters at least"
    )
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="From which level on a process writes log lines: debug, info, warning or error"
    )
    health: str = Field("", description="Address of a worker's /healthz and /readyz, host:port or a port alone")
    metrics: str = Field("", description="Address of a Prometheus endpoint of this process, host:port or a port alone")
    backups: str = Field("", description="Folder of the ledger's backups, for metrics; HOME/backups when not set")
    worker_max_activities: int = Field(100, ge=1, le=10_000)
    worker_max_workflow_tasks: int = Field(100, ge=2, le=10_000)

    stack: StackFile | None = Field(None, exclude=True, repr=False)
    """The running embedded stack of `home`, filled in by `resolve()`."""

    @field_validator("home")
    @classmethod
    def _home_directory(cls, value: Path) -> Path:
        try:
            return value.expanduser()
        except RuntimeError:
            raise ValueError("there is no such user's home directory") from None

    @field_validator("reconcile_every", "verify_every", "anchor_every", "prune_every", "keep_content", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return parse_whole_seconds(value) if value.strip() else None

    @field_validator("network", mode="before")
    @classmethod
    def _network_name(cls, value: Any) -> Any:
        name = str(value).upper()
        return Network.DEVNET if name == "LOCALNET" else name

    @field_validator("allowed_http_hosts", "allowed_private_hosts", "facilitator_urls", "nexus_agents", mode="before")
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        return [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value

    @field_validator("facilitator_urls")
    @classmethod
    def _http_urls(cls, value: list[str]) -> list[str]:
        return [cls._http_url(each) for each in value]

    @field_validator("allowed_private_hosts")
    @classmethod
    def _private_hosts(cls, value: list[str]) -> list[str]:
        Reach.of((), value)
        return value

    @field_validator("gateway_token")
    @classmethod
    def _token(cls, value: SecretStr) -> SecretStr:
        token = value.get_secret_value()
        if token and not _TOKEN.fullmatch(token):
            raise ValueError("should be at least 16 letters, digits and any of - . _ ~")
        return value

    @field_validator("solana_rpc_url", "facilitator_url", "gateway")
    @classmethod
    def _http_url(cls, value: str) -> str:
        return checked_url(value, ("http://", "https://"))

    @field_validator("solana_ws_url")
    @classmethod
    def _ws_url(cls, value: str) -> str:
        return checked_url(value, ("ws://", "wss://"))

    @field_validator("health", "metrics")
    @classmethod
    def _listening_address(cls, value: str) -> str:
        return checked_address(value)

    @field_validator("keyring")
    @classmethod
    def _keys(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not _KEYRING.fullmatch(value.get_secret_value().strip()):
            raise ValueError(NO_KEYRING.format(make=command_line("keyring")))
        return value

    @field_validator("database_url", "read_database_url")
    @classmethod
    def _postgres_url(cls, value: str) -> str:
        value = value.strip()
        if value:
            parse_database_url(value)
        return value

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Settings from the environment and `.env`; what is `given` (and not None) wins over both.

        Raises:
            SettingsError: an unknown AUTOPAY_* variable, a value that cannot be, or a file or a command of a secret
                that gives none.
        """
        _refuse_unknown((cls.model_fields.keys() - {"stack"}) | SOURCES, env_file_values())
        explicit: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        variables = {name.upper(): value for name, value in environment("").items()}
        secrets, origins = secrets_from_elsewhere(variables, explicit)
        try:
            return cls(**{**secrets, **explicit})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            origin = origins.get(name, f"{PREFIX}{name.upper()}")
            raise SettingsError(f"{origin}{_wrong(first)}") from None

    def mints(self) -> dict[Currency, str]:
        """The currencies that can be paid in on this network."""
        return {Currency.USDC: usdc_mint(self.network)} | ({Currency.CASH: self.cash_mint} if self.cash_mint else {})

    @property
    def facilitators(self) -> list[str]:
        """The facilitators that payments may settle through; without any, a payment may settle through all."""
        return list(dict.fromkeys([*self.facilitator_urls, *([self.facilitator_url] if self.facilitator_url else [])]))

    @property
    def on_localnet(self) -> bool:
        """Whether the chain is the running embedded stack's, where test money may be made."""
        return self.stack is not None and self.solana_rpc_url == self.stack.solana_rpc

    def resolve(self, *needed: str) -> Self:
        """These settings, with what is not set taken from the embedded stack that runs in `home`.

        Args:
            needed: names of settings that must have a value then; without any, those a worker needs.

        Raises:
            SettingsError: something needed is still missing.
        """
        stack = running_stack(self.home)
        found: dict[str, Any] = {"stack": stack}
        if stack is not None:
            found |= {name: value for name, value in self._of_stack(stack).items() if not self._is_set(name)}
        filled = self.model_copy(update=found)
        derived: dict[str, Any] = {}
        if not filled.solana_ws_url and filled.solana_rpc_url:
            derived["solana_ws_url"] = (
                stack.solana_ws if filled.on_localnet and stack else websocket_url_of(filled.solana_rpc_url)
            )
        if not filled.cash_mint:
            derived["cash_mint"] = cash_mint(filled.network) or ""
        filled = filled.model_copy(update=derived)
        filled._refuse_mixture()
        for name in needed or NEEDED:
            if not filled._has(name):
                set_it = "set it or AUTOPAY_KEYRING_FILE" if name == "keyring" else "set it"
                raise SettingsError(f"{PREFIX}{name.upper()} is not set: {set_it}, or {filled.start_stack()}")
        return filled

    def start_stack(self) -> str:
        """What to do when the embedded stack is wanted and does not run, in words."""
        none = "" if self.stack is not None else f" (none runs in {self.home.absolute()})"
        return f"start the embedded stack{none}: {command_line('up', '--worker')}"

    def for_work(self) -> Self:
        """These settings, with the embedded database as the role that only works there."""
        if self.stack is None or self.database_url != self.stack.database_url:
            return self
        return self.model_copy(update={"database_url": self.stack.work_url})

    def for_owner(self) -> Self:
        """The opposite of `for_work`: with the embedded database as the owner of its tables, who makes sessions."""
        if self.stack is None or self.database_url != self.stack.work_url:
            return self
        return self.model_copy(update={"database_url": self.stack.database_url})

    def _is_set(self, name: str) -> bool:
        return name in self.model_fields_set and self._has(name)

    def _has(self, name: str) -> bool:
        value = getattr(self, name)
        return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)

    def _of_stack(self, stack: StackFile) -> dict[str, Any]:
        found: dict[str, Any] = {"database_url": stack.database_url}
        if not self._is_set("database_url"):
            found["read_database_url"] = stack.read_url
        if not self._is_set("solana_rpc_url") and self.network is Network.DEVNET:
            found |= {
                "solana_rpc_url": stack.solana_rpc,
                "solana_ws_url": stack.solana_ws,
                "cash_mint": stack.cash_mint,
                "slot_ms": stack.slot_ms,
            }
        keyring = self._keyring_of_stack()
        if keyring:
            found["keyring"] = SecretStr(keyring)
        return found

    def _keyring_of_stack(self) -> str:
        return keyring_of_home(self.home)

    def _refuse_mixture(self) -> None:
        """Real money must never be booked in the embedded stack's ledger, nor sealed with its keyring."""
        if self.network is Network.MAINNET and self.stack is not None:
            if self.database_url == self.stack.database_url:
                raise SettingsError("AUTOPAY_DATABASE_URL is not set: MAINNET needs a database of its own")
            if self.keyring.get_secret_value() and self.keyring.get_secret_value() == self._keyring_of_stack():
                raise SettingsError("AUTOPAY_KEYRING is not set: MAINNET needs a keyring of its own")


def keyring_of_home(home: Path) -> str:
    """The keyring that the embedded stack of that home has made for itself; "" when there is none yet.

    Raises:
        SettingsError: its file cannot be read.
    """
    file = home / KEYRING_FILE
    try:
        return read_secret_text(file) if file.exists() else ""
    except (SecretFileError, OSError) as error:
        raise SettingsError(f"{file}, the keyring of the embedded stack, {error}") from None


def _refuse_unknown(known: set[str], in_file: Iterable[str]) -> None:
    given: Iterable[str] = (*os.environ, *in_file)
    for variable in given:
        name = variable.upper()
        if name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() not in known:
            valid = sorted(PREFIX + field.upper() for field in known)
            near = difflib.get_close_matches(name, valid, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(valid)}"
            raise SettingsError(f"{ascii(variable[:100])[1:-1]} is not a setting: {hint}")


def _wrong(error: Any) -> str:
    """What is wrong, in one line; a value is shown only when it can be no secret: it is short, and no URL or key."""
    value = str(error["input"])
    harmless = error["loc"][0] not in SECRET and len(value) <= SHOWN_CHARS and value.isprintable()
    return f"{f'={value}' if harmless else ''} is not valid: {validation_message(error)}"
