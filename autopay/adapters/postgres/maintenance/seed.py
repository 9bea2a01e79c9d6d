"""The document's demo data: an agent, a balance, and one failed payment. Fixed ids make it the same each time."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.transaction import agent_named
from autopay.adapters.postgres.tables.core import AgentRow, BalanceSnapshotRow, RequestRow, TransactionRow
from autopay.domain.agent.records import BalanceStatus
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.status import ErrorType, TransactionStatus
from autopay.domain.phase import Phase
from autopay.domain.request import (
    HttpMethod,
    RequestError,
    RequestResult,
    RequestSpec,
    RequestStatus,
    payment_workflow_id,
    x402_request_id,
)

DEMO_AGENT = "AutopayDemoAgent"
DEMO_WALLET = "devnet_phantom_address_placeholder"
AGENT_ID = UUID("00000000-0000-7000-8000-0000000a6e01")
BALANCE_ID = UUID("00000000-0000-7000-8000-0000000ba101")
TRANSACTION_ID = UUID("00000000-0000-7000-8000-0000000da101")
REQUEST_ID = UUID("00000000-0000-7000-8000-0000000e0101")
PRICE = Decimal("0.001")
SAMPLE = RequestSpec(request_id="sample-market-feed", url="https://market.example/api/market-feed")
ERROR = RequestError(type="insufficient_funds", message="a sample: the wallet held less than the price")


async def seed(db: AsyncSession) -> None:
    """Bring the demo data; a second time changes nothing, and an agent of that name keeps what it is."""
    key = x402_request_id(DEMO_AGENT, SAMPLE.request_id)
    agent = insert(AgentRow).values(id=AGENT_ID, name=DEMO_AGENT, autonomy_phase=Phase.DEMO, wallet_address=DEMO_WALLET)
    await db.execute(agent.on_conflict_do_nothing(index_elements=["name"]))
    owner = await agent_named(db, DEMO_AGENT)
    balance = insert(BalanceSnapshotRow).values(
        id=BALANCE_ID,
        agent_id=owner.id,
        balance=Decimal("0.1"),
        currency=Currency.USDC,
        threshold=Decimal("0.01"),
        status=BalanceStatus.SUFFICIENT,
    )
    payment = insert(TransactionRow).values(
        id=TRANSACTION_ID,
        agent_id=owner.id,
        amount=PRICE,
        currency=Currency.USDC,
        status=TransactionStatus.FAILED,
        x402_request_id=key,
        error_type=ErrorType.INSUFFICIENT_FUNDS,
        error_code=ERROR.type,
        network=Network.DEVNET,
    )
    for row in (balance, payment, insert(RequestRow).values(_request(owner.id, key))):
        await db.execute(row.on_conflict_do_nothing())


def _request(agent_id: UUID, key: str) -> dict[str, object]:
    result = RequestResult(
        request_id=SAMPLE.request_id,
        status=RequestStatus.FAILED,
        http_status=402,
        attempts=1,
        workflow_id=payment_workflow_id(DEMO_AGENT, SAMPLE.request_id),
        error=ERROR,
    )
    return {
        "id": REQUEST_ID,
        "agent_id": agent_id,
        "endpoint": "/api/market-feed",
        "method": HttpMethod.GET,
        "response_status": 402,
        "transaction_id": TRANSACTION_ID,
        "request_id": SAMPLE.request_id,
        "x402_request_id": key,
        "url": SAMPLE.url,
        "terms_hash": SAMPLE.terms_hash(),
        "outcome": result.status.value,
        "error_code": ERROR.type,
        "error_message": ERROR.message,
        "result": result.model_dump(mode="json"),
        "closed_at": func.now(),
    }
