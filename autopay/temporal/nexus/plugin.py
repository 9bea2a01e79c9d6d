"""`Plugin`: for the client of a team whose workflows call `autopay.temporal.fetch`.

It is needed when that client has a codec of its own: what is encrypted with its keys, Autopay cannot read. With the
plugin the codec is left out for what crosses to Autopay and back, and for nothing else. Without a codec it changes
nothing but that the sandbox does not load `autopay` anew for each run.
"""

import dataclasses
from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    DataConverter,
    NexusSerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from autopay.temporal.nexus.contract import SERVICE, WORKFLOW_PREFIX

PLAIN = (b"json/plain", b"binary/null", b"binary/plain")


class Plugin(SimplePlugin):
    """Give it to the client: `Client.connect(…, plugins=[autopay.temporal.Plugin()])`; its workers have it, too."""

    def __init__(self) -> None:
        super().__init__("autopay", data_converter=_with_open_boundary, workflow_runner=_with_fast_sandbox)


class OpenBoundary(PayloadCodec, WithSerializationContext):
    """A codec that leaves out what crosses to Autopay and back."""

    def __init__(self, codec: PayloadCodec, *, crosses: bool = False) -> None:
        self._codec = codec
        self._crosses = crosses

    def with_context(self, context: SerializationContext) -> "OpenBoundary":
        """The codec for that context."""
        if _crosses(context):
            return OpenBoundary(self._codec, crosses=True)
        if isinstance(self._codec, WithSerializationContext):
            return OpenBoundary(self._codec.with_context(context))
        return self

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """As the codec does, or not at all."""
        return list(payloads) if self._crosses else await self._codec.encode(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """As the codec does; what crossed in clear is as it is."""
        if self._crosses and all(payload.metadata.get("encoding") in PLAIN for payload in payloads):
            return list(payloads)
        return await self._codec.decode(payloads)


def _crosses(context: SerializationContext) -> bool:
    if isinstance(context, NexusSerializationContext):
        return context.service == SERVICE
    return isinstance(context, WorkflowSerializationContext) and context.workflow_id.startswith(WORKFLOW_PREFIX)


def _with_open_boundary(converter: DataConverter | None) -> DataConverter:
    given = converter or DataConverter.default
    if given.payload_codec is None or isinstance(given.payload_codec, OpenBoundary):
        return given
    return dataclasses.replace(given, payload_codec=OpenBoundary(given.payload_codec))


def _with_fast_sandbox(runner: WorkflowRunner | None) -> WorkflowRunner:
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner if runner is not None else SandboxedWorkflowRunner()
    return dataclasses.replace(runner, restrictions=runner.restrictions.with_passthrough_modules("autopay"))
