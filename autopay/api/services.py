"""What the routes of the API and the page work with; opened once for a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.postgres.reports.stream import LedgerStream
from autopay.api.access.access import Access
from autopay.api.actions.actions import Actions
from autopay.api.readings.readings import Readings
from autopay.api.readings.sources import Sources, open_sources
from autopay.health.ready import Readiness, ask_ledger, ask_temporal
from autopay.settings import Settings
from autopay.temporal.connection import keyring_of


@dataclass(frozen=True)
class Services:
    """What one server has open.

    Args:
        settings: resolved ones.
        sources: the ledger that is read, and Temporal.
        readings: what can be read.
        access: who may call; `access.gate(app)` is what is to be served.
        actions: what callers can do.
        stream: the ledger's events for all who follow them.
        readiness: whether the server can do its work.
        owners_ledger: by which sessions are made and signed for, what workers may not; connects when it is needed.
    """

    settings: Settings
    sources: Sources
    readings: Readings
    access: Access
    actions: Actions
    stream: LedgerStream
    readiness: Readiness
    owners_ledger: PostgresLedger


@asynccontextmanager
async def open_services(
    settings: Settings, *, listen: str = "127.0.0.1", allow_hosts: Sequence[str] = (), tokens_wanted: bool = False
) -> AsyncIterator[Services]:
    """Services for these settings; connections are made when they are needed, and closed at the end.

    Args:
        settings: resolved ones.
        listen: the address that the server listens at: elsewhere than on loopback, every caller needs a token.
        allow_hosts: other names by which it may be asked.
        tokens_wanted: whether callers on this machine need a token, too.

    Raises:
        ValueError: one of the names is none.
    """
    async with open_sources(settings) as sources, _owners_ledger(settings, sources.connections.ledger) as owners_ledger:
        ledger, secret = sources.connections.ledger, keyring_of(settings).derive("page/csrf")
        access = Access.of(ledger, listen, allow_hosts, tokens_wanted=tokens_wanted, secret=secret)
        actions, stream = Actions(sources.connections), LedgerStream(sources.ledger.events)
        try:
            readings, readiness = Readings(sources), _readiness(sources)
            yield Services(settings, sources, readings, access, actions, stream, readiness, owners_ledger)
        finally:
            await stream.close()
            await actions.close()


def _readiness(sources: Sources) -> Readiness:
    connections = sources.connections

    async def both_ledgers() -> None:
        await asyncio.gather(ask_ledger(sources.ledger), ask_ledger(connections.ledger))

    async def temporal() -> None:
        await ask_temporal(await connections.temporal())

    readiness = Readiness("database", "temporal")
    readiness.watch(database=both_ledgers, temporal=temporal)
    return readiness


@asynccontextmanager
async def _owners_ledger(settings: Settings, ledger: PostgresLedger) -> AsyncIterator[PostgresLedger]:
    """The same ledger, unless it is the embedded stack's as its workers have it."""
    url = settings.for_owner().database_url
    if url == settings.database_url:
        yield ledger
        return
    opened = open_ledger(url)
    try:
        yield opened
    finally:
        await opened.dispose()


def services_of(connection: HTTPConnection) -> Services:
    """The services of the application that was asked."""
    return cast(Services, connection.app.state.services)


ServicesNeeded = Annotated[Services, Depends(services_of)]
"""A route's argument that is the application's services."""
