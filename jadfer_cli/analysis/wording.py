"""Numbers and lists as the words of a paragraph."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def span(values: Sequence[float], form: str) -> str:
    """A range: "25" or "25 to 30"; each end is formatted by `form`."""
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def by_video(shares: Sequence[float]) -> str:
    """The range and median of shares, one per video, in per cent."""
    return (
        f"by video {100 * min(shares):.0f} to {100 * max(shares):.0f}%, "
        f"median {100 * statistics.median(shares):.0f}%"
    )


def share(n: int, of: int) -> str:
    """A share in per cent with one decimal."""
    return f"{100 * n / of:.1f}%" if of else "0%"


def length(seconds: float) -> str:
    """A length in words: 9.0 s, 4 min 5 s, 1 h 3 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def ordinal(n: int) -> str:
    """An ordinal number: second, third, 4th, 21st."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th") if n % 100 not in (11, 12, 13) else "th"
    return "second" if n == 2 else "third" if n == 3 else f"{n}{ending}"


def listed(words: Sequence[str]) -> str:
    """A list in words: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
