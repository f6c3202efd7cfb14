"""The options of one worker: its share of a machine that several workers use."""

from __future__ import annotations

import dataclasses

from jadfer_cli.options import AnnotateOptions
from jadfer_cli.runtime import n_gpus, usable_cores


def worker_options(options: AnnotateOptions, number: int, jobs: int) -> AnnotateOptions:
    """Returns the options of one of several workers on this machine.

    Cores are divided evenly unless `--threads` sets how many each worker takes; GPUs are
    assigned in turn unless `--device` names one. To be called in the worker, so that only
    processes that use GPUs look for them.

    Args:
        options: Options of the batch.
        number: Which worker, from 1.
        jobs: How many workers there are.
    """
    model = options.model
    if jobs > 1 and model.threads is None:
        model = dataclasses.replace(model, threads=max(usable_cores() // jobs, 1))
    if jobs > 1 and model.device in ("auto", "cuda") and (n := n_gpus()) > 1:
        model = dataclasses.replace(model, device=f"cuda:{(number - 1) % n}")
    return dataclasses.replace(options, model=model)
