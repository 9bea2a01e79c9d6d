"""The codec server: shows people what Temporal keeps sealed.

Run it by `python -m autopay.temporal.codec_server --port 8234 --ui …`.

Speaks Temporal's remote codec protocol: POST /encode and /decode with `{"payloads": [...]}`; the web UI calls it from
the browser, and `temporal --codec-endpoint` from the command line. Whoever reaches it can open every payload whose
bytes they have, so it must listen on loopback, or behind a proxy that authenticates. It opens nothing of what
the vault seals in the database.
"""

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Sequence

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from google.protobuf import json_format
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from temporalio.api.common.v1 import Payload, Payloads

from autopay.adapters.vault import Keyring
from autopay.domain.errors import SettingsError
from autopay.settings import Settings
from autopay.temporal.codec import SealedPayloads, why_marked

BODY_LIMIT_BYTES = 16_000_000
"""Room for Temporal's largest messages (4 MB each) as JSON, where base64 takes a third more."""

OWN_NAMES = ["127.0.0.1", "localhost"]
"""The only host names that it answers to, against DNS rebinding by web pages."""

_SHUTDOWN_S = 2


def codec_app(codec: SealedPayloads, ui_origins: Sequence[str]) -> FastAPI:
    """The protocol over that codec, for pages of these origins (`http://host:port`)."""
    app = FastAPI(title="Autopay codec server", openapi_url=None)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(ui_origins),
        allow_methods=["POST"],
        allow_headers=["Content-Type", "X-Namespace"],
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=OWN_NAMES)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/encode")
    async def encode(request: Request) -> JSONResponse:
        return await _converted(request, codec.encode)

    @app.post("/decode")
    async def decode(request: Request) -> JSONResponse:
        return await _converted(request, codec.decode, _shown)

    return app


def _shown(payload: Payload) -> Payload:
    """The payload to show; for one that cannot be opened, a text that says why, so that those beside it are shown."""
    why = why_marked(payload)
    if why is None:
        return payload
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(f"cannot be opened: {why}").encode())


async def _converted(
    request: Request,
    convert: Callable[[Sequence[Payload]], Awaitable[list[Payload]]],
    show: Callable[[Payload], Payload] = lambda payload: payload,
) -> JSONResponse:
    try:
        given = json_format.Parse(await _body(request), Payloads())
        done = Payloads(payloads=[show(each) for each in await convert(given.payloads)])
    except (json_format.ParseError, UnicodeDecodeError):
        raise HTTPException(400, "the body is not JSON of Temporal payloads") from None
    return JSONResponse(json_format.MessageToDict(done))


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            raise HTTPException(413, f"the body is larger than {BODY_LIMIT_BYTES} bytes")
    return bytes(body)


def main() -> int:
    """The exit code: 0 after a signal, 2 for a wrong setting."""
    parser = argparse.ArgumentParser(
        prog="python -m autopay.temporal.codec_server", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; loopback unless in a container")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ui", action="append", required=True, metavar="ORIGIN", help="of the web UI; repeatable")
    arguments = parser.parse_args()
    try:
        settings = Settings.load().resolve("keyring")
        codec = SealedPayloads(Keyring.parse(settings.keyring.get_secret_value()))
    except (SettingsError, ValueError) as error:
        sys.stderr.write(f"codec server: {error}\n")
        return 2
    uvicorn.run(
        codec_app(codec, arguments.ui),
        host=arguments.host,
        port=arguments.port,
        log_level="warning",
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
