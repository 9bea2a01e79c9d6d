"""The application inside a test's own process and event loop."""

import asyncio
from pathlib import Path

import httpx
import uvicorn

from localnet.chain.app import build_app
from localnet.weather.faults import WeatherState
from tests.chain.node import eventually


async def test_the_application_serves_in_process_under_a_given_sky(tmp_path: Path) -> None:
    weather = WeatherState()
    config = uvicorn.Config(build_app(tmp_path / "new" / "home", 10, weather), port=0, log_level="error")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await eventually(started)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

        async def slot() -> int:
            request = {"jsonrpc": "2.0", "id": 1, "method": "getSlot", "params": [{"commitment": "processed"}]}
            return int((await http.post("/", json=request)).json()["result"])

        first = await slot()

        async def later() -> bool:
            return await slot() > first + 10

        await eventually(later)
        weather.now.outage = True
        assert (await http.get("/health")).status_code == 503
    server.should_exit = True
    await serving
    assert (tmp_path / "new" / "home" / "chain.db").exists()
