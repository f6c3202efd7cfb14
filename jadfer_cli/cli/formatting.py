"""Numbers and names as the text that commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_NEGLIGIBLE_SHARE = 0.005  # would be printed as 0%


def share_text(share: float | None) -> str:
    """A share in per cent; "-" if there is none."""
    return "-" if share is None else f"{share:.0%}"


def ratio_text(n: int, total: int) -> str:
    """`n` of `total` in per cent; "-" if the total is zero."""
    return share_text(n / total if total else None)


def shares_text(shares: Mapping[str, float], most: int = 3) -> str:
    """The first `most` expressions: "happiness 62%, neutral 30%"; "-" if there are none."""
    named = [
        f"{name} {share:.0%}"
        for name, share in list(shares.items())[:most]
        if share >= _NEGLIGIBLE_SHARE
    ]
    return ", ".join(named) or "-"


def names_text(names: Sequence[str], most: int = 3) -> str:
    """Names as a list: "a, b, c and 7 more"."""
    listed = ", ".join(names[:most])
    return listed if len(names) <= most else f"{listed} and {len(names) - most:,} more"
