"""Looks for secrets in everything that a stack keeps: in clear, and in every way that they are usually written down."""

import base64
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import base58
import psycopg
from google.protobuf import json_format
from google.protobuf.message import Message
from psycopg import sql
from temporalio.client import Client

from autopay.settings.stack_file import KEYRING_FILE, OWNER_FILE

SECRET_FILES = {KEYRING_FILE, OWNER_FILE}
"""What a home holds on purpose, readable by its owner only."""


def written(secret: bytes) -> set[bytes]:
    """The secret as bytes, hex, base58, a list of numbers, and base64 at any place in something longer."""
    forms = {secret, secret.hex().encode(), secret.hex().upper().encode(), base58.b58encode(secret)}
    forms |= {separator.join(str(byte) for byte in secret).encode() for separator in (",", ", ")}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            whole = encode(b"\0" * before + secret)
            first = -(-before * 8 // 6)  # letters that also hold bits of what comes before
            forms.add(whole[first : (before + len(secret)) * 8 // 6])
    return forms


async def kept_by_temporal(address: str) -> AsyncIterator[tuple[str, bytes]]:
    """Every execution, with memo and search attributes, its history as JSON and as bytes, and every schedule."""
    client = await Client.connect(address)
    async for execution in client.list_workflows():
        name = f"workflow {execution.id}"
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        yield f"{name} in the list", execution.raw_info.SerializeToString()
        yield f"{name} described", (await handle.describe()).raw_description.SerializeToString()
        history = await handle.fetch_history()
        yield f"history of {name} as JSON", history.to_json().encode()
        for event in history.events:
            yield f"event {event.event_id} of {name}", event.SerializeToString()
    async for schedule in await client.list_schedules():
        described = await client.get_schedule_handle(schedule.id).describe()
        yield f"schedule {schedule.id}", _both(described.raw_description)


def kept_by_database(url: str) -> Iterator[tuple[str, bytes]]:
    """Every table as PostgreSQL's binary copy, where text and bytes are as they are."""
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            copy = sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(sql.Identifier(table))
            with connection.cursor().copy(copy) as rows:
                yield f"table {table}", b"".join(bytes(block) for block in rows)


def kept_in_files(home: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of the home but those that are secret themselves: logs, Temporal's database, PostgreSQL's."""
    for file in sorted(home.rglob("*")):
        if file.is_file() and file.name not in SECRET_FILES:
            yield f"file {file.relative_to(home)}", file.read_bytes()


def _both(message: Message) -> bytes:
    return message.SerializeToString() + json_format.MessageToJson(message).encode()
