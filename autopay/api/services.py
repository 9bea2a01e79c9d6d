"""What the routes of the API and the page work with; opened once for a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from autopay.api.readings.readings import Readings
from autopay.api.readings.sources import Sources, open_sources
from autopay.settings import Settings


@dataclass(frozen=True)
class Services:
    """What one server has open.

    Args:
        settings: resolved ones.
        sources: the ledger that is read, and Temporal.
        readings: what can be read.
    """

    settings: Settings
    sources: Sources
    readings: Readings


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Services for these settings; connections are made when they are needed, and closed at the end.

    Args:
        settings: resolved ones.
    """
    async with open_sources(settings) as sources:
        yield Services(settings, sources, Readings(sources))


def services_of(connection: HTTPConnection) -> Services:
    """The services of the application that was asked."""
    return cast(Services, connection.app.state.services)


ServicesNeeded = Annotated[Services, Depends(services_of)]
"""A route's argument that is the application's services."""
