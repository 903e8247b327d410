"""What model calls take and cost: each on record, held to budgets before it is made, summed up by day."""

from salver_server.usage.budgets import Budget, Limit, Use
from salver_server.usage.ledger import Ledger, Standing
from salver_server.usage.price import Price
from salver_server.usage.prices import Listed, Prices

__all__ = ["Budget", "Ledger", "Limit", "Listed", "Price", "Prices", "Standing", "Use"]
