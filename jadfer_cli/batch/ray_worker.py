"""A worker as a Ray actor: the same work as in `worker`, but its messages are fetched.

Ray restarts an actor that dies and gives it the same video once more; the networks are then
loaded again.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

from jadfer_cli._version import __version__
from jadfer_cli.batch.plan import Task
from jadfer_cli.batch.worker import Message, annotate, error_fields, load
from jadfer_cli.common import claim_process
from jadfer_cli.errors import OptionError
from jadfer_cli.options import AnnotateOptions, IfExists
from jadfer_cli.stopping import Stopped

if TYPE_CHECKING:
    from jadfer_cli.pipeline.annotator import Annotator


class RayWorker:
    """Annotates the videos it is given; `new_messages` may be called at the same time.

    Args:
        options: Options for every video.
        if_exists: What to do if a result exists.
        folder: The working folder of the command, to which paths are relative.
        version: The version of jadfer where the command runs.
    """

    def __init__(
        self, options: AnnotateOptions, if_exists: IfExists, folder: str, version: str
    ) -> None:
        self._options, self._if_exists = options, if_exists
        self._folder, self._version = folder, version
        self._annotator: Annotator | None = None
        self._messages: list[Message] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def load(self) -> list[Message]:
        """Loads the networks; returns messages, the last of which is "ready" or "load_failed"."""
        try:
            self._check_machine()
        except OptionError as error:
            return [("load_failed", {"error": error_fields(error)})]
        claim_process()
        self._annotator = load(self._options, self)
        return self.new_messages()

    def annotate(self, task: Task) -> list[Message]:
        """Annotates one video; returns the messages not fetched yet, the last says how it ended."""
        if self._annotator is None:  # Ray has restarted this process
            loaded = self.load()
            if self._annotator is None:
                return [("failed", loaded[-1][1])]
        self.send(("received", {}))
        try:
            annotate(self._annotator, task, self._if_exists, self)
        except Stopped:
            self._messages.append(("stopped", {}))
        return self.new_messages()

    def new_messages(self) -> list[Message]:
        """Returns the messages sent since the last call."""
        with self._lock:
            messages, self._messages = self._messages, []
        return messages

    def stop(self) -> None:
        """Stops the current video and cleans up."""
        self._stopped.set()

    def send(self, message: Message) -> None:
        """Keeps a message until it is fetched; see `worker.Listener`."""
        with self._lock:
            self._messages.append(message)
        if self._stopped.is_set() and message[0] == "progress":
            raise Stopped(signal.SIGTERM)

    def _check_machine(self) -> None:
        """Checks that this machine matches the one where the command runs.

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
