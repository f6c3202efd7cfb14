"""Plans a batch before any work: the result file of each video, and the part of each job."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jadfer_cli.batch.inputs import Source
from jadfer_cli.errors import OptionError
from jadfer_cli.results.paths import is_begun, result_files

SUFFIX = ".parquet"


@dataclass(frozen=True)
class Task:
    """One video and its result.

    Attributes:
        video: Its path.
        target: The result file.
        name: What the rows call the video; None for the name that the options give it.
    """

    video: str
    target: Path
    name: str | None = None


def is_folder(out: str) -> bool:
    """True if -o names a folder: an existing one, a trailing separator, or not .parquet."""
    return out.endswith(("/", os.sep)) or Path(out).is_dir() or Path(out).suffix != SUFFIX


def settle(sources: Sequence[Source], out: str, *, many: bool) -> list[Task]:
    """Makes one task per video.

    Args:
        sources: The videos.
        out: The value of -o: a .parquet file for one video, otherwise a folder that mirrors the
            input tree.
        many: True for several inputs, or one that may expand to several.

    Raises:
        OptionError: Two videos would have the same result, or `out` names a file for many.
    """
    if not many and not is_folder(out):
        return [Task(sources[0].path, Path(out))]
    if Path(out).suffix == SUFFIX and not Path(out).is_dir():
        raise OptionError(
            f"`out` {out} names one file, but there may be several inputs.",
            f"Name a folder: `out` {Path(out).with_suffix('')}/",
        )
    tasks = [Task(source.path, path) for source, path in _names(sources, Path(out))]
    _refuse_collisions(tasks)
    return tasks


def _names(sources: Sequence[Source], out: Path) -> Iterator[tuple[Source, Path]]:
    """Yields the result of each video: clip.parquet, or clip.mp4.parquet beside a clip.mkv.

    A video keeps the name under which it has a result or unfinished work already, so that a
    second clip that appears or disappears later renames nothing:

    1. If clip.mp4.parquet exists, it is that of clip.mp4.
    2. If there is only one clip, its result is clip.parquet.
    3. If there are several, an existing clip.parquet belongs to the one that it was made from;
       the others have the long name.
    """
    short = [out / source.below.with_suffix(SUFFIX) for source in sources]
    n_by_name = Counter(os.path.abspath(path).casefold() for path in short)
    for source, path in zip(sources, short, strict=True):
        long = path.with_name(source.below.name + SUFFIX)
        alone = n_by_name[os.path.abspath(path).casefold()] == 1
        if is_begun(long) or not (alone or _is_made_from(path, source.path)):
            yield source, long
        else:
            yield source, path


def _is_made_from(result: Path, video: str) -> bool:
    if not is_begun(result):
        return False
    from jadfer_cli.results.origin import is_made_from  # slow to import, rarely needed

    return is_made_from(result, video)


def _refuse_collisions(tasks: Sequence[Task]) -> None:
    """Checks that no two videos write the same file, on case-insensitive disks either."""
    owner: dict[str, str] = {}
    for task in tasks:
        for path in result_files(task.target, ("landmarks", "actions", "mesh")):
            other = owner.setdefault(os.path.abspath(path).casefold(), task.video)
            if other != task.video:
                raise OptionError(
                    f"{other} and {task.video} would both write {path}.",
                    "Rename one of them, or annotate them into two folders.",
                )


@dataclass(frozen=True)
class Shard:
    """Part K of N of a plan."""

    k: int
    n: int

    @classmethod
    def of(cls, text: str) -> Shard:
        """Parses "K/N".

        Raises:
            OptionError: The text has another form.
        """
        k, sep, n = text.partition("/")
        if not (sep and k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n)):
            raise OptionError(
                f"`shard` {text} is not K/N with K from 1 to N.",
                "For example `shard` 1/8 in the first of eight jobs. Slurm: "
                "`shard` $((SLURM_ARRAY_TASK_ID))/$SLURM_ARRAY_TASK_COUNT with --array=1-8.",
            )
        return cls(int(k), int(n))


def shard(tasks: Sequence[Task], part: Shard, seconds_of: Callable[[str], float]) -> list[Task]:
    """Returns the tasks of one part, in their order; each task is in exactly one part.

    Assigns the longest videos first, each to the part with the least work so far (Graham 1969).
    Every machine that sees the same files finds the same parts.

    Args:
        tasks: The complete plan.
        part: Which part.
        seconds_of: Duration of a video; 0 if unknown.
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
