"""The faults that a service of the embedded stack shows at run time: its weather."""

import random

from pydantic import BaseModel, ConfigDict, Field


class Weather(BaseModel):
    """The faults in force; the default is fair weather.

    Rates are probabilities per request in 0..1. `lose_answers` does the work and then cuts the connection in the
    middle of the answer. `lag_slots` and `stand_still` concern the chain, `price_factor` the sellers.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    latency_ms: int = Field(0, ge=0, le=600_000)
    error_rate: float = Field(0.0, ge=0, le=1)
    outage: bool = False
    lose_answers: float = Field(0.0, ge=0, le=1)
    lag_slots: int = Field(0, ge=0, le=100_000)
    stand_still: bool = False
    price_factor: float = Field(1.0, gt=0, le=1000)


class WeatherState:
    """One service's current weather; its middleware and its own code share it, and HTTP changes it."""

    def __init__(self, seed: int | None = None) -> None:
        self.now = Weather()
        self.dice = random.Random(seed)

    def rolls(self, rate: float) -> bool:
        """Whether a fault of this rate happens to the request at hand."""
        return rate > 0 and self.dice.random() < rate
