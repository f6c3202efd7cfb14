"""Writes a trained model anew with its matrices in half precision: half the size.

    python tests/bench/half.py RUN/model.safetensors RUN/half.safetensors

All else stays in single precision, as do all computations. What this does to the scores is
measured by `evidence.py`, as for every file; it prints the largest change of a weight.
"""

import argparse
from pathlib import Path

import torch

from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.networks.base import Network


def halve(network: Network) -> float:
    """Turns the matrices into half precision; returns the largest change of a weight."""
    change = 0.0
    for parameter in network.parameters():
        if parameter.ndim > 1:
            half = parameter.detach().to(torch.float16)
            if not half.isfinite().all():
                raise SystemExit("a weight is too large for half precision")
            change = max(change, (half.float() - parameter.detach()).abs().max().item())
            parameter.data = half
    return change


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    a = parser.parse_args()
    loaded = checkpoint.load(str(a.model))
    network = loaded.build()
    change = halve(network)
    sha256 = checkpoint.save(
        a.out, network, labels=loaded.labels, temperature=loaded.temperature,
        metrics=loaded.metrics, scores=loaded.scores, terms=loaded.entry.terms,
    )  # fmt: skip
    print(
        f"{a.out}: {a.out.stat().st_size:,} bytes, sha256 {sha256}; weights differ by {change:.2g}"
    )


if __name__ == "__main__":
    main()
