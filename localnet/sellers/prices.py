"""What a paid route costs, in both tokens, and how that reads in an offer of either protocol version."""

from dataclasses import dataclass

from x402.http.types import HTTPRequestContext, PaymentOption
from x402.schemas import AssetAmount
from x402.schemas.v1 import PaymentRequirementsV1

from localnet.chain.genesis import CASH_MINT, USDC_MINT
from localnet.weather.faults import WeatherState

NETWORK = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
NETWORK_V1 = "solana-devnet"
PAYMENT_VALID_SECONDS = 60


@dataclass(frozen=True)
class ListPrice:
    """One price in base units of either token (both have 6 decimals)."""

    usdc_atomic: int
    cash_atomic: int

    def now(self, weather: WeatherState) -> list[AssetAmount]:
        """USDC first, then CASH, times the weather's `price_factor`; never below one base unit."""
        factor = weather.now.price_factor
        return [
            AssetAmount(amount=str(max(1, round(atomic * factor))), asset=str(mint), extra={"name": name})
            for name, mint, atomic in (
                ("USDC", USDC_MINT, self.usdc_atomic),
                ("CASH", CASH_MINT, self.cash_atomic),
            )
        ]


MARKET_FEED = ListPrice(usdc_atomic=1_000, cash_atomic=1_200)
INSIGHT = ListPrice(usdc_atomic=2_000, cash_atomic=2_400)
ANSWER = ListPrice(usdc_atomic=5_000, cash_atomic=6_000)


def options(price: ListPrice, pay_to: str, weather: WeatherState) -> list[PaymentOption]:
    """The v2 `accepts` of a route; the SDK asks for each amount anew on every request."""

    def option(index: int) -> PaymentOption:
        def amount(_request: HTTPRequestContext) -> AssetAmount:
            return price.now(weather)[index]

        return PaymentOption(
            scheme="exact",
            pay_to=pay_to,
            price=amount,
            network=NETWORK,
            max_timeout_seconds=PAYMENT_VALID_SECONDS,
        )

    return [option(index) for index in range(len(price.now(weather)))]


def requirements_v1(
    asked: list[AssetAmount], *, pay_to: str, fee_payer: str, resource: str, description: str
) -> list[PaymentRequirementsV1]:
    """The v1 `accepts` of a request; `resource` is its full URL."""
    return [
        PaymentRequirementsV1(
            scheme="exact",
            network=NETWORK_V1,
            max_amount_required=amount.amount,
            resource=resource,
            description=description,
            mime_type="application/json",
            pay_to=pay_to,
            max_timeout_seconds=PAYMENT_VALID_SECONDS,
            asset=amount.asset,
            extra={**(amount.extra or {}), "feePayer": fee_payer},
        )
        for amount in asked
    ]
