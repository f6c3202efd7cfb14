"""What the probabilities mean: how logits become scores, by definition.

- `votes`: the share of raters who would choose the expression, among those who name one of the
  expressions. Raters who answer "unknown" count in no share, so shares sum to 1. A model has this
  definition if it was fitted to votes.
- `majority`: the probability that the majority of raters would choose the expression, among
  photographs that have a majority.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import ModelError

MAJORITY, VOTE_SHARE = "majority", "votes"


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


def choose(wanted: str, available: Mapping[str, Calibration], model: str) -> str:
    """The definition to use.

    Args:
        wanted: One of the definitions; "auto" for the share of votes if the model was fitted to
            votes, otherwise the majority.
        available: The model's calibrations by definition.
        model: The model's name, for the message.

    Raises:
        ModelError: The model does not have the definition.
    """
    if wanted == "auto":
        return VOTE_SHARE if VOTE_SHARE in available else MAJORITY
    if wanted not in available:
        raise ModelError(
            f"The model {model} has no scores of the kind {wanted}: it was not fitted to votes.",
            f"Its scores are {', '.join(available)}; see `scores`.",
        )
    return wanted


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
