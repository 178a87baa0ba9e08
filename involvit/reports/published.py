"""Figures that others published, to set one's own beside."""

from __future__ import annotations

# Accuracy, precision, recall and F1 of table 1 in Z. Liu, "Using Transformer and Involution for facial expression
# recognition".
PUBLISHED_ROWS: dict[str, tuple[float | None, ...]] = {
    "SFEW baseline": (0.19, None, None, None),
    "Island Loss": (0.5252, None, None, None),
    "RAN": (0.564, None, None, None),
    "Liu: transformer + involution": (0.6471, 0.6847, 0.6565, 0.6615),
}
