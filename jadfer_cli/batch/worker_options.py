"""The options of one worker: its share of a machine that several workers use."""

from __future__ import annotations

import dataclasses

from jadfer_cli.options import AnnotateOptions
from jadfer_cli.runtime import n_gpus, usable_cores


def worker_options(options: AnnotateOptions, number: int, jobs: int) -> AnnotateOptions:
    """The options of one of several workers on this machine.

    The cores are dealt out evenly, unless --threads says how many each takes, and the GPUs in
    turn, unless --device names one. Asked in the worker: looking at the GPUs is left to the
    processes that use them.

    Args:
        options: Of the batch.
        number: Which worker, from 1.
        jobs: How many there are.
    """
    model = options.model
    if jobs > 1 and model.threads is None:
        model = dataclasses.replace(model, threads=max(usable_cores() // jobs, 1))
    if jobs > 1 and model.device in ("auto", "cuda") and (n := n_gpus()) > 1:
        model = dataclasses.replace(model, device=f"cuda:{(number - 1) % n}")
    return dataclasses.replace(options, model=model)
