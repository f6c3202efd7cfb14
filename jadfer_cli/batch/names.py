"""What the rows of a batch call each video: with frame and track, it is their key."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jadfer_cli.batch.inputs import Source
from jadfer_cli.batch.plan import Task
from jadfer_cli.errors import OptionError
from jadfer_cli.options import AnnotateOptions
from jadfer_cli.text import encodable


def named(tasks: Sequence[Task], sources: Sequence[Source], options: AnnotateOptions) -> list[Task]:
    """Returns the tasks with the names of their videos.

    Args:
        tasks: The complete plan.
        sources: The video of each task.
        options: How videos are named.

    Raises:
        OptionError: Two videos would have the same name.
    """
    found: dict[str, str] = {}
    result = []
    for task, source in zip(tasks, sources, strict=True):
        name = encodable(_name(source, options))
        other = found.setdefault(name, task.video)
        if other != task.video:
            raise OptionError(
                f"{other} and {task.video} would both be called {name} in the rows, so that "
                "their rows could not be told apart.",
                "Leave out `file_names`, or use `relative_paths` for names like day1/P01.mp4."
                if options.file_names
                else "Rename one of the files.",
            )
        result.append(dataclasses.replace(task, name=name))
    return result


def _name(source: Source, options: AnnotateOptions) -> str:
    if options.relative_paths:
        return source.below.as_posix()
    return source.below.name if options.file_names else source.path
