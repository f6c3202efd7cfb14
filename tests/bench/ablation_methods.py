"""Ways to train JADFER that are tried one by one: the study `methods` of `ablation.py`.

SAM and the balance of classes are options of `jadfer train`. The other two are added here to its
loss, so that only what gains something need move into the program.
"""

import dataclasses
from typing import Any

import torch

from jadfer_cli.expression.networks.base import Output
from jadfer_cli.training.recipes import Batch
from jadfer_cli.training.trainer import Trainer

FLIP, MIXUP = "flip consistency", "mixup"
MIXUP_ALPHA = 0.2

VARIANTS: dict[str, dict[str, Any]] = {
    "SAM": {"optimiser": "sam"},
    FLIP: {},
    MIXUP: {},
    "balance 0.6": {"balance": 0.6},
}


def symmetric_kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean over images of (KL(p, q) + KL(q, p)) / 2 of logits (B, K)."""
    log_p, log_q = first.log_softmax(-1), second.log_softmax(-1)
    return 0.5 * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1).mean()


class FlipConsistency(Trainer):
    """An image and its mirror image: the mean of both losses, and their difference.

    The loss of R-Drop (Liang et al. 2021, arXiv 2106.14448) with weight 1, on mirror images.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain = self.recipe.loss

        def loss(output: Output, batch: Batch, options: Any) -> torch.Tensor:
            assert batch.second is not None
            both = plain(output, batch, options) + plain(batch.second, batch, options)
            return both / 2 + symmetric_kl(output.logits, batch.second.logits)

        self.recipe = dataclasses.replace(
            self.recipe, loss=loss, second_view=lambda images: images.flip(-1)
        )


class Mixup(Trainer):
    """Mixed images, or mixed fine maps if those are stored, with the loss of both labels.

    Zhang et al. 2018 (arXiv 1710.09412); one share per batch, Beta(0.2, 0.2).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain = self.recipe.loss

        def loss(output: Output, batch: Batch, options: Any) -> torch.Tensor:
            other = batch._replace(targets=batch.targets[self.partner])
            own = plain(output, batch, options)
            return self.share * own + (1 - self.share) * plain(output, other, options)

        self.recipe = dataclasses.replace(self.recipe, loss=loss)

    def views(self, faces: torch.Tensor) -> list[torch.Tensor]:
        """The views of mixed images; `outputs` has set the seed that decides the mixture."""
        self.partner = torch.randperm(len(faces))
        self.share = float(torch.distributions.Beta(MIXUP_ALPHA, MIXUP_ALPHA).sample())
        mixed = self.share * faces + (1 - self.share) * faces[self.partner]
        return super().views(mixed)


TRAINERS: dict[str, type[Trainer]] = {FLIP: FlipConsistency, MIXUP: Mixup}
