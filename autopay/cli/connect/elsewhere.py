"""Settings that lead away from an embedded stack: to another chain, Temporal or ledger than its own.

A worker or a command takes such a setting as it is. Beside the stack it would work half here and half there: sign on
one chain for sellers of another, or take another Temporal's tasks with this ledger.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from autopay.database_url import parse_database_url
from autopay.domain.network import Network
from autopay.settings import Settings
from autopay.settings.environment import environment
from autopay.settings.stack_file import StackFile

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def settings_elsewhere(settings: Settings, stack: StackFile) -> list[str]:
    """A clause for each setting that leads elsewhere: its name, and what of the stack is not used because of it.

    `settings` are those before `resolve`. No value is quoted, as it may hold a secret.

    Raises:
        SettingsError: one of Temporal's settings is wrong.
    """
    found = _temporal(environment("TEMPORAL_"), stack)
    if settings.network is not Network.DEVNET:
        found.append(f"AUTOPAY_NETWORK ({settings.network.value}, and the embedded chain stands in for DEVNET)")
    if settings.solana_rpc_url and not _same_url(settings.solana_rpc_url, stack.solana_rpc):
        found.append(f"AUTOPAY_SOLANA_RPC_URL (another chain than {stack.solana_rpc})")
    if settings.solana_ws_url and not _same_url(settings.solana_ws_url, stack.solana_ws):
        found.append(f"AUTOPAY_SOLANA_WS_URL (another chain than {stack.solana_ws})")
    if settings.database_url and not _same_database(settings.database_url, stack.database_url):
        found.append("AUTOPAY_DATABASE_URL (another ledger than the embedded PostgreSQL)")
    if settings.cash_mint and settings.cash_mint != stack.cash_mint:
        found.append(f"AUTOPAY_CASH_MINT (another CASH than the embedded chain's {stack.cash_mint})")
    if settings.facilitators and not any(_same_url(each, stack.facilitator) for each in settings.facilitators):
        found.append(f"AUTOPAY_FACILITATOR_URLS (without {stack.facilitator}, which the embedded APIs settle through)")
    return found


def elsewhere_line(clauses: list[str]) -> str:
    """What leads elsewhere, and what to do about it."""
    names = ", ".join(each.partition(" ")[0] for each in clauses)
    return f"{'; '.join(clauses)}. Unset {names} in the environment and in .env"


def _temporal(variables: Mapping[str, str], stack: StackFile) -> list[str]:
    from autopay.temporal.connection import connect_config

    config = connect_config(variables)
    address = config.get("target_host")
    if address and not _same_url(f"//{address}", f"//{stack.temporal}"):
        name = next((each for each in ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE") if variables.get(each)), None)
        name = name or "TEMPORAL_CONFIG_FILE"  # or the file at its usual place
        return [f"{name} (another Temporal than {stack.temporal})"]
    found = []
    if config.get("tls") or config.get("api_key"):
        names = sorted(each for each in variables if each.startswith(("TEMPORAL_TLS", "TEMPORAL_API_KEY")))
        found.append(f"{(names or ['TEMPORAL_CONFIG_FILE'])[0]} (the embedded Temporal has neither TLS nor API keys)")
    if config.get("namespace", "default") != "default":
        found.append("TEMPORAL_NAMESPACE (the embedded Temporal has the namespace default)")
    return found


def _same_url(one: str, other: str) -> bool:
    return _place(one) == _place(other)


def _place(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    return "loopback" if host in _LOOPBACK else host, parts.port


def _same_database(url: str, embedded: str) -> bool:
    """Whether both are one database of one server, over its socket or over loopback."""
    ours, theirs = parse_database_url(embedded), parse_database_url(url)
    port = ours.parameters.get("port")
    hosts = {name for name, _ in theirs.hosts} or {theirs.parameters.get("host", "")}
    ports = {str(number or "") for _, number in theirs.hosts} - {""} or {theirs.parameters.get("port", "")}
    is_here = hosts <= {*_LOOPBACK, ours.parameters.get("host", "")}
    return is_here and ports == {port} and theirs.database == ours.database
