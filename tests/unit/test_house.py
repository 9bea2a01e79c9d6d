"""The rules of the house: what may import what."""

import subprocess
import sys

import pytest

HEAVY = ("sqlalchemy", "httpx", "solana", "solders", "psycopg", "x402", "alembic")


def loaded_by(module: str) -> set[str]:
    """Top-level packages that importing this module brings in, in a fresh interpreter."""
    code = f"import sys, {module}; print(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module", ["payment.run", "payment.settlement", "agent.state", "reconcile.run", "payment.ports"]
)
def test_the_core_imports_the_standard_library_and_pydantic_only(module: str) -> None:
    assert loaded_by(f"autopay.domain.{module}").isdisjoint({*HEAVY, "temporalio"})


@pytest.mark.parametrize("module", ["paid_request", "agent", "adopt", "redeliver"])
def test_a_workflow_loads_no_adapter(module: str) -> None:
    assert loaded_by(f"workflows.{module}").isdisjoint(HEAVY)
