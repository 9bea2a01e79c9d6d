"""The connection to Temporal: its address, and how payloads are converted and sealed.

What must not live here: what is sent over it.
"""

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError, RPCStatusCode

from autopay.adapters.vault import Keyring
from autopay.domain.errors import TransientFault
from autopay.settings import START_STACK, Settings, SettingsError
from autopay.temporal.converter import data_converter


class TemporalUnreachable(TransientFault):
    """Temporal does not answer."""


async def connect(settings: Settings) -> Client:
    """A client of the Temporal that TEMPORAL_* variables or a profile name, else of the embedded stack's.

    Raises:
        SettingsError: no address is known, or no keyring.
        TemporalUnreachable: nothing answers there.
    """
    config = ClientConfig.load_client_connect_config()
    if not config.get("target_host"):
        if settings.stack is None:
            raise SettingsError(f"TEMPORAL_ADDRESS is not set: set it, or {START_STACK}")
        config["target_host"] = settings.stack.temporal
    converter = data_converter(_keyring(settings))
    try:
        client = await Client.connect(**config, data_converter=converter)
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise TemporalUnreachable(
                f"Temporal at {config['target_host']} has no namespace {client.namespace!r}; check TEMPORAL_NAMESPACE"
            ) from None
        raise TemporalUnreachable(f"Temporal at {config['target_host']} answers: {error.message}") from None
    except RuntimeError as error:
        cause = "connection refused" if "refused" in str(error) else str(error).split(":")[0]
        where = f"{config['target_host']} ({cause})"
        raise TemporalUnreachable(f"{where}; check TEMPORAL_ADDRESS, or {START_STACK}") from None
    return client


def _keyring(settings: Settings) -> Keyring:
    text = settings.keyring.get_secret_value()
    if not text:
        raise SettingsError("AUTOPAY_KEYRING is not set: what Temporal keeps is sealed with it; use your workers' one")
    try:
        return Keyring.parse(text)
    except ValueError as error:
        raise SettingsError(f"AUTOPAY_KEYRING is not valid: {error}") from None
