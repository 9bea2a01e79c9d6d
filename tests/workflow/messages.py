"""Messages as others could send them: sealed with another keyring, damaged, of another shape, or too many values."""

from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
from temporalio.api.enums.v1 import UpdateWorkflowExecutionLifecycleStage
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.update.v1 import Input, Meta, Request, WaitPolicy
from temporalio.api.workflowservice.v1 import (
    QueryWorkflowRequest,
    SignalWorkflowExecutionRequest,
    UpdateWorkflowExecutionRequest,
)
from temporalio.client import Client

from autopay.adapters.vault import Keyring
from autopay.temporal.codec import SealedPayloads

FOREIGN = SealedPayloads(Keyring.generate())

PLAIN = {"encoding": b"json/plain"}


def foreign(text: str = '"x"') -> Payload:
    """What a command with another keyring sends."""
    return FOREIGN._sealed(Payload(metadata=PLAIN, data=text.encode()))


def plain(text: str) -> Payload:
    """What a client without any codec sends."""
    return Payload(metadata=PLAIN, data=text.encode())


UNREADABLE = {
    "another keyring": [foreign()],
    "another shape": [plain('{"a": 1}')],
    "another type": [plain("17")],
    "damaged": [plain("{")],
    "nothing": [Payload(metadata={"encoding": b"binary/null"}, data=b"x")],
    "another encoding": [Payload(metadata={"encoding": b"zip"}, data=b"x")],
    "no encoding": [Payload()],
    "stored elsewhere": [Payload(metadata={"encoding": b"json/external-storage-reference"}, data=b"{}")],
    "marked as stored elsewhere": [Payload(metadata={"__temporal_external_storage_reference": b"true"})],
    "two values": [plain('"x"'), plain('"y"')],
    "two values of another keyring": [foreign(), foreign()],
}
"""Arguments that no message with one value can take."""


async def signal(client: Client, workflow_id: str, name: str, *payloads: Payload) -> None:
    """Send a signal with exactly these payloads."""
    await client.workflow_service.signal_workflow_execution(
        SignalWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            signal_name=name,
            input=Payloads(payloads=payloads),
        )
    )


async def update(client: Client, workflow_id: str, name: str, *payloads: Payload) -> str | None:
    """Send an update with exactly these payloads; the stable name of why it was refused, None if it was not."""
    completed = UpdateWorkflowExecutionLifecycleStage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED
    answer = await client.workflow_service.update_workflow_execution(
        UpdateWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            wait_policy=WaitPolicy(lifecycle_stage=completed),
            request=Request(meta=Meta(), input=Input(name=name, args=Payloads(payloads=payloads))),
        )
    )
    assert answer.HasField("outcome")
    failure = answer.outcome.failure
    return failure.application_failure_info.type if answer.outcome.HasField("failure") else None


async def query(client: Client, workflow_id: str, name: str, *payloads: Payload) -> Payload:
    """Ask a query with exactly these payloads; its answer, sealed."""
    answer = await client.workflow_service.query_workflow(
        QueryWorkflowRequest(
            namespace=client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id),
            query=WorkflowQuery(query_type=name, query_args=Payloads(payloads=payloads)),
        )
    )
    (result,) = answer.query_result.payloads
    return result
