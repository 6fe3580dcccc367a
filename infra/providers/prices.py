"""What tokens cost, exactly: prices are decimals per million tokens."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per million tokens. From floats by way of `str`, so that 0.15 stays 0.15."""

    input_usd: Decimal = Decimal(0)
    output_usd: Decimal = Decimal(0)

    @classmethod
    def of(cls, input_usd: float | str | Decimal, output_usd: float | str | Decimal) -> Prices:
        """Prices as they stand in settings. Raises `ValueError` for a negative one."""
        prices = cls(Decimal(str(input_usd)), Decimal(str(output_usd)))
        if min(prices.input_usd, prices.output_usd) < 0:
            raise ValueError(f"prices of {input_usd} and {output_usd} USD: none may be negative")
        return prices

    def cost_usd(self, input_tokens: int, output_tokens: int) -> Decimal:
        """The exact cost of a generation."""
        return (input_tokens * self.input_usd + output_tokens * self.output_usd) / _MILLION
