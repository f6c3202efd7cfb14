"""Local polynomials over time in seconds: LOESS, and Savitzky-Golay at any frame rate.

At each frame, a polynomial is fitted to the values within a window by weighted least squares,
and its value at that frame is the smoothed one. LOESS weights by the tricube function (Cleveland
1979, J. Am. Stat. Assoc. 74:829); equal weights give the filter of Savitzky and Golay (1964, Anal.
Chem. 36:1627). Near the ends of a run the window is moved inwards, so that it keeps its length.

At a constant frame rate, this gives what `statsmodels.nonparametric.lowess` (without robust
iterations) and `scipy.signal.savgol_filter` give. At a variable one, the first takes a fixed number
of neighbours instead of a fixed time, and the second cannot be used.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jadfer_cli.analysis.frame_times import Floats

TRICUBE, FLAT = "tricube", "flat"
_TOLERANCE_S = 1e-6  # of rounded time stamps
_CELLS_AT_ONCE = 1 << 20


def local_polynomial(
    time_s: Floats, values: Floats, *, window_s: float, degree: int, kernel: str
) -> Floats:
    """Smooth the values of one unbroken run.

    Args:
        time_s: float64 (n,), ascending.
        values: float64 (n, K).
        window_s: Length of the whole window, more than 0.
        degree: Of the polynomial, 0 or more.
        kernel: TRICUBE or FLAT.

    Returns:
        float64 (n, K). Where a window holds too few frames for the degree, the fit passes through
        the values.
    """
    t = time_s
    low = np.clip(t - window_s / 2, t[0], max(t[0], t[-1] - window_s))
    high = np.minimum(low + window_s, t[-1])
    # half a window inside the run; near its ends, the distance to the far side of the window
    radius = np.maximum(np.maximum(t - low, high - t), _TOLERANCE_S)
    first = np.searchsorted(t, low - _TOLERANCE_S)
    last = np.searchsorted(t, high + _TOLERANCE_S, side="right")
    widest = int((last - first).max())
    step = max(1, _CELLS_AT_ONCE // (widest * values.shape[1]))
    smooth = np.empty_like(values)
    for a in range(0, len(t), step):
        at = slice(a, a + step)
        index = first[at, None] + np.arange(widest)  # (m, M)
        is_in = index < last[at, None]
        index = np.minimum(index, len(t) - 1)
        u = (t[index] - t[at, None]) / radius[at, None]
        rows = _smoother_rows(u, _weights(u, kernel) * is_in, degree)  # (m, M)
        smooth[at] = np.einsum("mj,mjk->mk", rows, values[index])
    return smooth


def _weights(u: Floats, kernel: str) -> Floats:
    if kernel == FLAT:
        return np.ones_like(u)
    weights: Floats = np.clip(1 - np.abs(u) ** 3, 0, None) ** 3
    return weights


def _smoother_rows(u: Floats, w: npt.NDArray[np.float64], degree: int) -> Floats:
    """Return the weights (m, M) by which the values of each window add up to the fit at u = 0."""
    x = u[..., None] ** np.arange(degree + 1)  # (m, M, d + 1)
    moments = np.einsum("mji,mj,mjk->mik", x, w, x)  # (m, d + 1, d + 1)
    first = np.linalg.pinv(moments, rcond=1e-10, hermitian=True)[:, 0]  # (m, d + 1)
    rows: Floats = np.einsum("mi,mji,mj->mj", first, x, w)
    return rows
