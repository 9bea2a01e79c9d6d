"""What a transport makes its client of, when it needs one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from autopay.client.async_client import AsyncClient
    from autopay.settings import Settings


@dataclass(frozen=True)
class ClientArguments:
    """Arguments of `AsyncClient`."""

    agent: str
    settings: Settings | None = None
    home: Path | str | None = None
    gateway: str | None = None
    token: str | None = field(default=None, repr=False)

    def open(self) -> AsyncClient:
        """The client; AutopayError: a setting is missing or wrong."""
        from autopay.client.async_client import AsyncClient

        return AsyncClient(self.agent, settings=self.settings, home=self.home, gateway=self.gateway, token=self.token)
