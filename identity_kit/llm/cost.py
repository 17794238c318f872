"""Money and tokens: what was spent, what is in flight, and a cap that counts both."""

from __future__ import annotations

from dataclasses import dataclass

from identity_kit.errors import BadInput, Stopped
from identity_kit.llm.endpoint import Endpoint
from identity_kit.ui import tr


def estimate_tokens(text: str) -> int:
    """Tokens of a text, guessed high: 0.9 a Chinese character, 0.32 a letter elsewhere, and 4 for the message's frame."""
    # A Chinese character is three bytes in UTF-8, a letter one.
    chinese = (len(text.encode("utf-8", "surrogatepass")) - len(text)) // 2
    return 4 + int(chinese * 0.9 + max(0, len(text) - chinese) * 0.32)


@dataclass
class Meter:
    """Spending of one run. USD; `cap` is a hard limit on what is spent and in flight together."""

    cap: float | None = None
    requests: int = 0
    answered: int = 0
    replayed: int = 0
    retries: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    reserved: float = 0.0
    unpriced: bool = False

    def check(self, endpoint: Endpoint) -> None:
        """Refuse a cap that cannot be kept.

        Raises:
            BadInput: there is a cap and no price to hold it with.
        """
        if self.cap is not None and (endpoint.price_in is None or endpoint.price_out is None):
            raise BadInput(
                tr(
                    f"不知道 {endpoint.model} 的价格，守不住 --max-cost",
                    f"no price known for {endpoint.model}, so no cap can be kept",
                ),
                where="--max-cost",
                fix=tr(
                    "加上 --price-in 和 --price-out（美元/百万 token）",
                    "give --price-in and --price-out (USD per million tokens)",
                ),
            )

    def reserve(self, endpoint: Endpoint, tokens_in: int, tokens_out: int) -> float:
        """Set aside the most that one request can cost; returns that sum, in USD, for `settle`.

        Raises:
            Stopped: the cap would be passed.
        """
        most = price(endpoint, tokens_in, tokens_out)
        if self.cap is not None and self.cost + self.reserved + most > self.cap:
            raise Stopped(
                tr(
                    f"费用上限 {self.cap:g} 美元将被超过（已用 {self.cost:.4f}，在途 {self.reserved:.4f}）",
                    f"the next request could pass the cap of {self.cap:g} USD ({self.cost:.4f} spent, {self.reserved:.4f} in flight)",
                ),
                where="--max-cost",
                fix=tr("提高上限后再运行同一条命令", "raise it and run the same command to go on"),
            )
        self.reserved += most
        return most

    def settle(self, endpoint: Endpoint, reserved: float, tokens_in: int, tokens_out: int) -> float:
        """Book an answered request, or, with 0 tokens, one that was not answered; returns its cost in USD."""
        self.reserved = max(0.0, self.reserved - reserved)
        spent = price(endpoint, tokens_in, tokens_out)
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.cost += spent
        self.unpriced = self.unpriced or (endpoint.price_in is None and tokens_in > 0)
        return spent


def price(endpoint: Endpoint, tokens_in: int, tokens_out: int) -> float:
    """USD for so many tokens; 0 where the price is not known."""
    return ((endpoint.price_in or 0.0) * tokens_in + (endpoint.price_out or 0.0) * tokens_out) / 1e6
