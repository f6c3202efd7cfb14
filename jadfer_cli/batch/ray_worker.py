"""A worker as a Ray actor: the same work as `worker`, told to whoever asks.

Ray restarts an actor that dies and hands it its video once more; the networks are loaded again
then.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import Any

from jadfer_cli._version import __version__
from jadfer_cli.batch.plan import Task
from jadfer_cli.batch.worker import annotate, error_fields, load
from jadfer_cli.errors import OptionError
from jadfer_cli.options import AnnotateOptions, IfExists
from jadfer_cli.stopping import Stopped

Message = tuple[str, dict[str, Any]]


class Actor:
    """Annotates the videos that it is handed; `told` may be asked meanwhile.

    Args:
        options: Of every video.
        if_exists: What to do where a result exists already.
        folder: The working folder of the command, which paths are relative to.
        version: That of jadfer where the command runs.
    """

    def __init__(
        self, options: AnnotateOptions, if_exists: IfExists, folder: str, version: str
    ) -> None:
        self._options, self._if_exists = options, if_exists
        self._folder, self._version = folder, version
        self._annotator: Any = None
        self._messages: list[Message] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def load(self) -> list[Message]:
        """Loads the networks; gives its messages, "ready" or "load_failed" the last."""
        try:
            self._check_machine()
        except OptionError as error:
            return [("load_failed", {"error": error_fields(error)})]
        self._annotator = load(self._options, self)
        return self.told()

    def annotate(self, task: Task) -> list[Message]:
        """Annotates one video; gives the messages that `told` did not, how it ended the last."""
        if self._annotator is None:  # Ray started this process anew
            loaded = self.load()
            if self._annotator is None:
                return [("failed", loaded[-1][1])]
        self.send(("received", {}))
        try:
            annotate(self._annotator, task, self._if_exists, self)
        except Stopped:
            self._messages.append(("stopped", {}))
        return self.told()

    def told(self) -> list[Message]:
        """What was sent since it was asked last."""
        with self._lock:
            messages, self._messages = self._messages, []
        return messages

    def stop(self) -> None:
        """Ends the video at hand, with everything cleaned up."""
        self._stopped.set()

    def send(self, message: Message) -> None:
        """Keeps a message for who asks; see `worker.Listener`."""
        with self._lock:
            self._messages.append(message)
        if self._stopped.is_set() and message[0] == "progress":
            raise Stopped(signal.SIGTERM)

    def _check_machine(self) -> None:
        """This machine must be like the one where the command runs.

        Raises:
            OptionError: It lacks the folder, or has another version of jadfer.
        """
        machine = socket.gethostname()
        if self._version != __version__:
            raise OptionError(
                f"{machine} has jadfer {__version__}, this machine {self._version}.",
                "Install the same version on all machines of the Ray cluster.",
            )
        try:
            os.chdir(self._folder)
        except OSError as error:
            raise OptionError(
                f"{machine} of the Ray cluster has no folder {self._folder}.",
                "Videos and results must have the same paths on all its machines.",
            ) from error
