"""What a batch will do, settled before any work: which result each video gets, and whose it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jadfer_cli.batch.inputs import Source
from jadfer_cli.errors import OptionError
from jadfer_cli.results.paths import landmark_path, sidecar_path

SUFFIX = ".parquet"


@dataclass(frozen=True)
class Task:
    """One video and its result."""

    video: str
    target: Path


def is_folder(out: str) -> bool:
    """Whether -o means a folder: it ends in a separator, is one, or is no .parquet name."""
    return out.endswith(("/", os.sep)) or Path(out).is_dir() or Path(out).suffix != SUFFIX


def settle(sources: Sequence[Source], out: str, *, many: bool) -> list[Task]:
    """A task for each video.

    Args:
        sources: The videos.
        out: -o: a .parquet file for one video, else a folder that mirrors the input tree.
        many: Several inputs were given, or one that may mean several.

    Raises:
        OptionError: Two videos would have the same result, or `out` does not fit.
    """
    if not many and not is_folder(out):
        return [Task(sources[0].path, Path(out))]
    if Path(out).suffix == SUFFIX and not Path(out).is_dir():
        raise OptionError(
            f"-o {out} names one file, but the inputs may be several.",
            f"Name a folder: -o {Path(out).with_suffix('')}/",
        )
    tasks = [Task(s.path, Path(out) / s.below.with_suffix(SUFFIX)) for s in sources]
    _refuse_collisions(tasks)
    return tasks


def _refuse_collisions(tasks: Sequence[Task]) -> None:
    """No two videos may write the same file, also where capitals do not count."""
    owner: dict[str, str] = {}
    for task in tasks:
        for path in (task.target, sidecar_path(task.target), landmark_path(task.target)):
            other = owner.setdefault(os.path.abspath(path).casefold(), task.video)
            if other != task.video:
                raise OptionError(
                    f"{other} and {task.video} would both write {path}.",
                    "Rename one, or annotate them into two folders.",
                )


@dataclass(frozen=True)
class Shard:
    """One part of a plan; K of N."""

    k: int
    n: int

    @classmethod
    def of(cls, text: str) -> Shard:
        """From "K/N".

        Raises:
            OptionError: It is something else.
        """
        k, sep, n = text.partition("/")
        if not (sep and k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n)):
            raise OptionError(
                f"--shard {text} is not K/N with K from 1 to N.",
                "E.g. --shard 1/8 in the first of eight jobs; Slurm: "
                "--shard $((SLURM_ARRAY_TASK_ID))/$SLURM_ARRAY_TASK_COUNT with --array=1-8.",
            )
        return cls(int(k), int(n))


def shard(tasks: Sequence[Task], part: Shard, seconds_of: Callable[[str], float]) -> list[Task]:
    """This part's tasks, in their order; all parts together have each task once.

    Longest first, each to the part that has least to do so far (Graham 1969): the same parts
    on every machine that sees the same files.

    Args:
        tasks: The whole plan.
        part: Which part.
        seconds_of: How long a video is; 0 where that cannot be told.
    """
    seconds = [max(seconds_of(task.video), 0.0) for task in tasks]
    order = sorted(range(len(tasks)), key=lambda i: (-seconds[i], str(tasks[i].target)))
    load = [(0.0, 0)] * part.n  # seconds, tasks
    mine = []
    for i in order:
        least = load.index(min(load))
        load[least] = (load[least][0] + seconds[i], load[least][1] + 1)
        if least == part.k - 1:
            mine.append(i)
    return [tasks[i] for i in sorted(mine)]
