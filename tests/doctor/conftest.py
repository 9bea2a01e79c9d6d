"""One Temporal for all tests of the doctor, with a good namespace and bad ones; and the scene of each."""

import asyncio
import itertools
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from localnet.postgres.server import EmbeddedPostgres
from localnet.temporal import temporal_program
from tests.chain.node import eventually
from tests.doctor.scene import Scene, open_scene
from tests.localnet.stack import free_port

NAMESPACES = {"bare": 86_400, "wrong-type": 86_400, "forgetful": 3_600}
"""Beside `default`, with their retention in seconds: without search attributes, with one of another type, and short."""

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a development server."""
    home, port = tmp_path_factory.mktemp("temporal"), free_port()
    program = temporal_program(home, port, free_port(), "http://127.0.0.1:1")
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(program.command, stdout=log, stderr=log)
    try:
        asyncio.run(_set_up(port, eventually(program.answers, 60)))
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


async def _set_up(port: int, started: object) -> None:
    await started  # type: ignore[misc]
    client = await Client.connect(f"127.0.0.1:{port}")
    for name, kept_s in NAMESPACES.items():
        retention = Duration(seconds=kept_s)
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
        )

    async def is_known(name: str) -> bool:
        try:
            await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=name))
            if name == "wrong-type":
                text = {"AutopayPrice": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD}
                await client.operator_service.add_search_attributes(
                    AddSearchAttributesRequest(namespace=name, search_attributes=text)
                )
        except RPCError:
            return False
        return True

    for name in NAMESPACES:
        await eventually(lambda name=name: is_known(name))  # type: ignore[misc]


@pytest.fixture
async def scene(
    no_settings: None,
    postgres: EmbeddedPostgres,
    database_url: str,
    temporal: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> AsyncIterator[Scene]:
    """Everything is well in it."""
    made = Scene(postgres, database_url, monkeypatch, tmp_path, temporal, f"autopay-{next(_NUMBERS)}")
    async with open_scene(made) as opened:
        yield opened
