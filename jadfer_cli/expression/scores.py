"""What the probabilities mean: how logits become scores, by definition.

- `majority`: the probability that the majority of raters would choose the expression, among
  photographs that have a majority.
- `vote_share`: the share of the raters who choose the expression, among the raters who name one
  of the expressions. Raters who answer "unknown" count in no share, so shares sum to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAJORITY, VOTE_SHARE = "majority", "vote_share"
# the definition that `annotate` uses
DEFAULT = MAJORITY


@dataclass(frozen=True)
class Calibration:
    """Maps logits to probabilities: softmax(logits / temperature + bias).

    Guo et al. 2017, arXiv 1706.04599, section 4.2: temperature, and vector scaling with one
    scale for all classes.

    Attributes:
        temperature: Divides the logits.
        bias: One value per class; empty for none.
    """

    temperature: float = 1.0
    bias: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and np.isfinite([self.temperature, *self.bias]).all()):
            raise ValueError("the temperature is not positive, or a bias is not finite")

    def probabilities(self, logits: npt.NDArray[np.floating]) -> npt.NDArray[Any]:
        """Probabilities (n, K) of logits (n, K), in the same floating-point type."""
        raised = logits - logits.max(1, keepdims=True)
        raised = raised / self.temperature
        if self.bias:
            raised = raised + np.asarray(self.bias, logits.dtype)
            raised = raised - raised.max(1, keepdims=True)
        raised = np.exp(raised)
        shares: npt.NDArray[Any] = raised / raised.sum(1, keepdims=True)
        return shares

    def as_table(self) -> dict[str, Any]:
        """JSON-ready, as a checkpoint's header stores it."""
        return {
            "temperature": self.temperature,
            **({"bias": list(self.bias)} if self.bias else {}),
        }


def read_scores(temperature: float, further: Mapping[str, Any]) -> dict[str, Calibration]:
    """The calibrations of a checkpoint by definition.

    Args:
        temperature: Of `majority`.
        further: Other definitions, as `Calibration.as_table` stores them; checked by
            `header.read`. Files from jadfer 0.6 on may have some.
    """
    stored = {MAJORITY: {"temperature": temperature}, **further}
    return {
        name: Calibration(float(scale["temperature"]), tuple(map(float, scale.get("bias", ()))))
        for name, scale in stored.items()
    }
