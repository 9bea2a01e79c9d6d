"""Other people's buyers, each in an environment of its own, which is made on first use."""

import asyncio
import json
import sys
from pathlib import Path

from benchmarks.payments.figures import Speed
from benchmarks.payments.town import Town, run_program, tell

PROGRAM = Path(__file__).with_name("rival.py")
PACKAGES = {
    "x402": ("x402[httpx,svm]==2.25.0",),
    "pay-kit": ("solana-pay-kit==0.10.0",),
}
"""What each environment has; the official SDK's version is that of requirements.lock."""

NAMES = {"x402": "official x402 client", "pay-kit": "solana-pay-kit"}


async def environment(client: str, home: Path) -> Path:
    """The Python of that client's environment."""
    folder = home / client
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists() or ready.read_text() != " ".join(PACKAGES[client]):
        tell(f"making an environment for the {NAMES[client]} ...")
        await run_program([sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        await run_program([*pip, *PACKAGES[client]])
        await asyncio.to_thread(ready.write_text, " ".join(PACKAGES[client]))
    return python


async def measure(here: Town, python: Path, client: str, delay_ms: int, at_once: int, count: int) -> Speed:
    """Buy with that client."""
    printed = await run_program(
        [
            str(python), str(PROGRAM), "--client", client, "--url", f"{here.sellers[delay_ms]}/data",
            "--rpc", here.addresses.solana_rpc, "--key", str(here.payer_file), "--count", str(count),
            "--at-once", str(at_once),
        ]
    )  # fmt: skip
    found = json.loads(printed)
    return Speed.of(found["took_s"], found["all_s"])
