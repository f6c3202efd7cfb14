"""Time for which this process was running: limits must not count the time it was stopped."""

from __future__ import annotations

import time

# The supervisor's loop takes a fraction of a second. A longer step means that the process was
# stopped (Ctrl-Z, SIGSTOP) or the machine slept, and that its workers may have been as well.
_LONGEST_STEP_S = 2.0


class AwakeClock:
    """Measures the steps of a loop, without the time for which the process was stopped.

    Some systems count the sleep of a machine in their monotonic clock and some do not; neither
    counts here.
    """

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def step(self) -> float:
        """Returns the seconds since the last call; a pause counts as 2 s at most."""
        now = time.monotonic()
        step_s, self._last_s = now - self._last_s, now
        return min(step_s, _LONGEST_STEP_S)
