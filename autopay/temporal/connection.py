"""The connection to Temporal: its settings, and how payloads are converted and sealed.

What must not live here: what is sent over it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode

from autopay.adapters.postgres import open_ledger
from autopay.adapters.postgres.maintenance.keys import KeyChecks
from autopay.adapters.vault import Keyring
from autopay.domain.errors import LedgerUnavailable, PermanentFault, SettingsError, TransientFault
from autopay.settings import Settings
from autopay.settings.environment import environment
from autopay.settings.secret_sources import read_secret_setting
from autopay.temporal.attributes import ALL
from autopay.temporal.converter import data_converter

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]@]+):([0-9]{1,5})", re.ASCII)
_BOOLEANS = ("TEMPORAL_TLS", "TEMPORAL_TLS_DISABLE_HOST_VERIFICATION")
_CONFIG_FILE = "TEMPORAL_CONFIG_FILE"
_API_KEY, _API_KEY_FILE = "TEMPORAL_API_KEY", "TEMPORAL_API_KEY_FILE"
NOT_ALLOWED = (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED)

CONNECT_S = 15.0
"""How long connecting may take, until Temporal has answered what must be known of it."""


class TemporalUnreachable(TransientFault):
    """Temporal does not answer."""

    names_servers = True


class AttributesMissing(PermanentFault):
    """Temporal lacks search attributes that Autopay's workflows set."""


async def connect(
    settings: Settings, knows: Callable[[int], Awaitable[bool]] | None = None, keys: KeyChecks | None = None
) -> Client:
    """A client of the Temporal that TEMPORAL_* variables or a profile name, else of the embedded stack's.

    Args:
        settings: name the keyring, and the embedded stack or the ledger.
        knows: tells whether the ledger has ever used a key version; given by workers, see codec.py.
        keys: the key checks of that ledger, when the caller has it open already.

    Raises:
        SettingsError: no address is known, a setting of Temporal's is wrong, or there is no keyring or another one than
            the ledger's.
        TemporalUnreachable: nothing answers there.
        AttributesMissing: its namespace lacks search attributes; with the command that makes them.
    """
    config = config_of(settings)
    keyring = keyring_of(settings)
    if keys is not None:
        await _check_keyring(keys, keyring)
    elif settings.database_url:
        ledger = open_ledger(settings.database_url)
        try:
            await _check_keyring(ledger.keys, keyring)
        finally:
            await ledger.dispose()
    converter = data_converter(keyring, knows)
    with temporal_faults(config, settings):
        # What is sealed cannot be compressed, and most of what is sent is.
        async with asyncio.timeout(CONNECT_S):
            client = await Client.connect(**config, data_converter=converter, grpc_compression=GrpcCompression.NONE)
            await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
            await require_attributes(client)
    return client


async def connect_without_keys(settings: Settings) -> Client:
    """A client for who asks about Temporal itself: it reads nothing that is sealed, and touches no ledger.

    Raises:
        SettingsError: no address is known, or a setting of Temporal's is wrong.
        TemporalUnreachable: nothing answers there.
    """
    config = config_of(settings)
    with temporal_faults(config, settings):
        async with asyncio.timeout(CONNECT_S):
            return await Client.connect(**config)


def config_of(settings: Settings) -> ClientConnectConfig:
    """Temporal's own settings, with the embedded stack's address where they name none.

    Raises:
        SettingsError: no address is known, or a setting of Temporal's is wrong.
    """
    config = connect_config(environment("TEMPORAL_"))
    if not config.get("target_host"):
        if settings.stack is None:
            raise SettingsError(f"TEMPORAL_ADDRESS is not set: set it, or {settings.start_stack()}")
        config["target_host"] = settings.stack.temporal
    return config


@contextmanager
def temporal_faults(config: ClientConnectConfig, settings: Settings) -> Iterator[None]:
    """Turns the SDK's errors into ours.

    Raises:
        TemporalUnreachable: nothing answers there, or there is no such namespace.
        SettingsError: a setting of Temporal's is wrong.
    """
    where, namespace = config.get("target_host"), config.get("namespace", "default")
    try:
        yield
    except TimeoutError:
        why = f"{where} (no answer within {CONNECT_S:g} s)"
        raise TemporalUnreachable(f"{why}; check TEMPORAL_ADDRESS, or {settings.start_stack()}") from None
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise TemporalUnreachable(
                f"Temporal at {where} has no namespace {namespace!r}; check TEMPORAL_NAMESPACE"
            ) from None
        raise TemporalUnreachable(f"Temporal at {where} answers: {error.message}") from None
    except ValueError:
        raise SettingsError("a setting of Temporal's is not valid: check TEMPORAL_ADDRESS and TEMPORAL_*") from None
    except RuntimeError as error:
        if "ParseError" in str(error) or "InvalidCertificate" in str(error):
            raise SettingsError(
                "TEMPORAL_TLS_* is not valid: its certificate or key is not PEM, or they do not belong together"
            ) from None
        cause = "connection refused" if "refused" in str(error) else str(error).split(":")[0]
        raise TemporalUnreachable(f"{where} ({cause}); check TEMPORAL_ADDRESS, or {settings.start_stack()}") from None


def connect_config(variables: Mapping[str, str]) -> ClientConnectConfig:
    """Temporal's own settings, from these TEMPORAL_* variables and the profile that they name.

    TEMPORAL_API_KEY_FILE is ours: a file with the API key, as of our own secrets.

    Raises:
        SettingsError: one of them is wrong; the message names it, and quotes no secret.
    """
    file = variables.get(_CONFIG_FILE)
    try:
        if file and not Path(file).is_file():
            raise SettingsError(f"{_CONFIG_FILE} is not valid: there is no file {file}")
    except OSError as error:
        raise SettingsError(f"{_CONFIG_FILE} is not valid: {error.strerror}") from None
    for name in _BOOLEANS:
        if variables.get(name, "").lower() not in ("", "true", "false", "1", "0"):
            raise SettingsError(f"{name} is not valid: true or false")
    given = {name: value for name, value in variables.items() if value.strip()}
    if (key_file := given.pop(_API_KEY_FILE, None)) is not None:
        if _API_KEY in given:
            raise SettingsError(f"{_API_KEY} and {_API_KEY_FILE} are both set: set one of them")
        given[_API_KEY] = read_secret_setting(_API_KEY_FILE, key_file.strip())
    if not given.get(_API_KEY, "").strip().isprintable():
        raise SettingsError(f"{_API_KEY} is not valid: it has characters that cannot be printed")
    try:
        config = ClientConfig.load_client_connect_config(override_env_vars=given)
    except OSError as error:
        named = [name for name, value in given.items() if value == error.filename]
        raise SettingsError(f"{''.join(named) or 'a file of Temporal'} is not valid: {error.strerror}") from None
    except (RuntimeError, ValueError) as error:
        name = "TEMPORAL_PROFILE" if "rofile" in str(error) else _CONFIG_FILE
        raise SettingsError(f"{name} is not valid: {str(error).strip().splitlines()[0]}") from None
    _check_address(config.get("target_host"))
    return config


def _check_address(address: str | None) -> None:
    if not address:
        return
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found[2]) < 65_536:
        raise SettingsError("TEMPORAL_ADDRESS is not valid: should be host:port, like localhost:7233")


async def require_attributes(client: Client) -> bool:
    """Check that the namespace has our search attributes. False where asking is not allowed: it may have them.

    Raises:
        AttributesMissing: with the command that makes them.
        RPCError: Temporal does not answer.
    """
    try:
        answer = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as error:
        if error.status in NOT_ALLOWED:
            return False
        raise
    found = {**answer.custom_attributes, **answer.system_attributes}
    wanted = {key.name: int(key.indexed_value_type) for key in ALL}
    other = sorted(name for name in wanted.keys() & found.keys() if found[name] != wanted[name])
    if other:
        raise AttributesMissing(f"{', '.join(other)} of namespace {client.namespace!r} are of another type")
    missing = [key for key in ALL if key.name not in found]
    if missing:
        options = " ".join(f"--name {key.name} --type {_type_name(int(key.indexed_value_type))}" for key in missing)
        make = f"temporal operator search-attribute create --namespace {client.namespace} {options}"
        raise AttributesMissing(f"make them: {make}")
    return True


def _type_name(kind: int) -> str:
    """The name of a type on Temporal's command line: `Keyword`, `Double`."""
    name = IndexedValueType.Name(kind)  # type: ignore[arg-type]
    return name.removeprefix("INDEXED_VALUE_TYPE_").title().replace("_", "")


async def _check_keyring(keys: KeyChecks, keyring: Keyring) -> None:
    """Refuse a keyring that is not the ledger's. Skipped while the ledger does not answer: `stop` must work all the
    same, and workflows drop messages that they cannot read."""
    try:
        refused = await keys.refuse_or_register(keyring)
    except LedgerUnavailable:
        return
    if refused is not None:
        raise SettingsError(refused)


def keyring_of(settings: Settings) -> Keyring:
    """The keys of AUTOPAY_KEYRING.

    Raises:
        SettingsError: it is not set, or not valid.
    """
    text = settings.keyring.get_secret_value()
    if not text:
        raise SettingsError("AUTOPAY_KEYRING is not set: what Temporal keeps is sealed with it; use your workers' one")
    try:
        return Keyring.parse(text)
    except ValueError as error:
        raise SettingsError(f"AUTOPAY_KEYRING is not valid: {error}") from None
