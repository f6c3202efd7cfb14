"""A batch on a Ray cluster: each worker is an actor, which Ray places, restarts and retries."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jadfer_cli import stopping
from jadfer_cli._version import __version__
from jadfer_cli.batch.handle import WorkerHandle
from jadfer_cli.batch.outcome import Outcome
from jadfer_cli.batch.plan import Task
from jadfer_cli.batch.ray_worker import RayWorker
from jadfer_cli.batch.supervisor import TICK_S, Supervisor
from jadfer_cli.batch.worker import Message
from jadfer_cli.errors import JadferError, OptionError
from jadfer_cli.options import AnnotateOptions, ModelOptions
from jadfer_cli.runtime import usable_cores

_OBJECT_STORE_BYTES = 80 << 20  # about the least that Ray accepts; only messages go through it
_ANSWER_LIMIT_S = 10.0  # for an idle actor to answer, and for a killed one to end
_HINT = "pip install 'jadfer-cli[ray]'"


@dataclass(frozen=True)
class Slots:
    """How a cluster is divided among actors.

    Attributes:
        n: Number of actors.
        cpus: CPUs per actor.
        gpus: GPUs per actor; several actors may share one.
        threads: CPU threads per actor.
    """

    n: int
    cpus: int
    gpus: float
    threads: int


class _ActorHandle(WorkerHandle):
    """An actor, wherever it runs. A new process of the same actor is the same worker."""

    def __init__(self, number: int, actor: Any) -> None:
        super().__init__(number)
        self.actor = actor
        self.call: Any = actor.load.remote()  # the last call, until its result is fetched
        self._request: Any = None  # a pending request for new messages

    def _send(self, task: Task) -> bool:
        self.call = self.actor.annotate.remote(task)
        return True

    def messages(self) -> Iterator[Message]:
        """Yields what the actor has sent.

        Raises:
            ray.exceptions.RayError: It died, and died again when Ray retried.
        """
        import ray

        if self.call is None:
            return
        ended = bool(ray.wait([self.call], timeout=0)[0])
        with contextlib.suppress(ray.exceptions.RayError):  # it is being restarted
            if (
                self._request is not None
                and (ray.wait([self._request], timeout=_ANSWER_LIMIT_S if ended else 0)[0])
            ):
                request, self._request = self._request, None
                yield from ray.get(request)
        if ended:
            call, self.call, self._request = self.call, None, None
            yield from ray.get(call)
        elif self.task is not None and self._request is None:
            # no retries: in a restarted process the request would only wait
            self._request = self.actor.new_messages.options(max_task_retries=0).remote()

    def how_it_ended(self) -> str:
        return "Ray could not start it"

    def dismiss(self) -> None:
        self.kill()

    def terminate(self) -> None:
        if self.task is not None:
            self.actor.stop.remote()
        else:
            self.kill()

    def kill(self) -> None:
        import ray

        from jadfer_cli.results.lock import is_being_written

        ray.kill(self.actor)
        # Ray does not wait until the process has ended, which holds the lock of the result
        until_s = time.monotonic() + _ANSWER_LIMIT_S
        while self.task and is_being_written(self.task.target) and time.monotonic() < until_s:
            time.sleep(0.05)

    def end(self, grace_s: float) -> None:
        import ray

        if self.task is not None and self.call is not None:
            ray.wait([self.call], timeout=grace_s)
        self.kill()


class RayBatch(Supervisor[_ActorHandle]):
    """Annotates many videos with the actors of a Ray cluster; other arguments as of `Supervisor`.

    Ray restarts an actor that dies and retries its video once; if the actor dies again, the
    video has failed.

    Args:
        address: Address of the cluster; None starts one on this machine and ends it with the
            batch.
        jobs: Most actors; None for as many as the cluster has room for.
    """

    def __init__(
        self, options: AnnotateOptions, *, address: str | None, jobs: int | None, **more: Any
    ) -> None:
        super().__init__(options, jobs=jobs or 1, **more)
        self.address, self._wanted = address, jobs
        self._slots = Slots(1, 1, 0, 1)

    def run(self, tasks: Sequence[Task]) -> Outcome:
        """As `Supervisor.run`, on the cluster.

        Raises:
            OptionError: Ray or the cluster is missing, or the cluster has no room.
            JadferError, OutputError, KeyboardInterrupt: As `Supervisor.run`.
        """
        _require_ray()
        if self.options.model.device.startswith("cuda:"):
            raise OptionError(
                f"`device` {self.options.model.device} cannot be combined with `ray`, because "
                "Ray assigns the GPUs.",
                "Use `device` cuda or auto.",
            )
        with _cluster(self.address, self.jobs):
            import ray

            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            if self.address is None:
                self._slots = slots_here(self.options.model, nodes[0], self.jobs)
            else:
                self._slots = slots_of(self.options.model, nodes, self._wanted)
            self.jobs = self._slots.n
            try:
                return super().run(tasks)
            except KeyboardInterrupt:
                stopping.raise_if_stopped()  # Ray's own exception does not name the signal
                raise
            except ray.exceptions.RayError as error:
                raise JadferError(
                    f"The Ray cluster was lost: {_first_line(error)}",
                    "Run the command again with `if_exists='skip'`.",
                ) from error

    def _start_worker(self, number: int) -> _ActorHandle:
        import ray

        slots = self._slots
        model = dataclasses.replace(self.options.model, threads=slots.threads)
        options = dataclasses.replace(self.options, model=model)
        actors = ray.remote(RayWorker).options(
            num_cpus=slots.cpus,
            num_gpus=slots.gpus,
            max_restarts=-1,
            max_task_retries=1,
            max_concurrency=2,  # so that it answers while it annotates
        )
        return _ActorHandle(
            number, actors.remote(options, self.if_exists, os.getcwd(), __version__)
        )

    def _wait(self) -> None:
        import ray

        calls = [worker.call for worker in self.workers if worker.call is not None]
        if calls:
            ray.wait(calls, timeout=TICK_S)
        else:
            time.sleep(TICK_S)

    def _listen(self, worker: _ActorHandle) -> bool:
        from ray.exceptions import RayError

        try:
            for kind, fields in worker.messages():
                self._handle(worker, kind, fields)
        except RayError as error:
            if worker.task is None:
                worker.load_error = JadferError(
                    f"A Ray actor died while loading the networks: {_first_line(error)}",
                    "`jadfer doctor` on its machine finds faults of the installation.",
                )
                return False
            self._give_up(
                worker, "crash",
                "The worker died while annotating this video, and again when Ray retried.",
                "A library crashed or memory ran out. Convert the video, or try fewer `jobs`.",
            )  # fmt: skip
            return False
        if worker.load_error is not None:
            return False
        return not self._stalled(worker)


def slots_here(model: ModelOptions, node: dict[str, float], jobs: int) -> Slots:
    """Divides this machine's cores and GPUs among the actors.

    Args:
        model: Device and threads.
        node: Ray's resources of this machine: "CPU", "GPU".
        jobs: Number of actors.
    """
    n_gpus = int(node.get("GPU", 0)) if model.device != "cpu" else 0
    # Ray counts in units of 1/10,000; three thirds of a GPU must fit on it
    gpus = math.floor(10_000 / math.ceil(jobs / n_gpus)) / 10_000 if n_gpus else 0
    return Slots(jobs, 1, gpus, model.threads or max(usable_cores() // jobs, 1))


def slots_of(model: ModelOptions, nodes: Sequence[dict[str, float]], wanted: int | None) -> Slots:
    """Divides a cluster: one actor per GPU, otherwise per CPU.

    An actor on a GPU gets an equal part of the machine's CPUs, one on CPUs as many as --threads.

    Args:
        model: Device and threads.
        nodes: Ray's resources of each machine: "CPU", "GPU".
        wanted: Most actors; None for as many as fit.

    Raises:
        OptionError: There is no room for even one actor.
    """
    gpu_nodes = [node for node in nodes if node.get("GPU", 0) >= 1]
    if gpu_nodes and model.device != "cpu":
        n = int(sum(node["GPU"] for node in gpu_nodes))
        cpus_per_gpu = min(node.get("CPU", 0) // node["GPU"] for node in gpu_nodes)
        threads = model.threads or max(int(cpus_per_gpu), 1)
        cpus, gpus = int(min(threads, cpus_per_gpu)), 1
    else:
        cpus = threads = model.threads or 1
        n, gpus = int(sum(node.get("CPU", 0) // cpus for node in nodes)), 0
    if n < 1:
        raise OptionError(
            f"The Ray cluster has no room for an actor with {cpus} CPUs.",
            "Use fewer `threads`, or add machines to the cluster.",
        )
    return Slots(min(n, wanted or n), cpus, gpus, threads)


def _require_ray() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise OptionError(f"`ray` needs Ray, which cannot be loaded: {error}.", _HINT) from error


@contextlib.contextmanager
def _cluster(address: str | None, jobs: int) -> Iterator[None]:
    """Connects to a cluster; without an address, starts one here and ends it afterwards.

    Raises:
        OptionError: There is no cluster at the address.
        JadferError: No cluster can be started.
    """
    import ray

    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    folder = None
    try:
        try:
            if address is None:
                # not the system's temporary folder: Ray's sockets need a short path
                short = "/tmp" if os.path.isdir("/tmp") else None
                folder = tempfile.mkdtemp(prefix="jadfer-", dir=short)
                # new versions require a token, and would write one to the home folder
                os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
                ray.init(
                    "local", num_cpus=jobs, include_dashboard=False, _temp_dir=folder,
                    object_store_memory=_OBJECT_STORE_BYTES, **quiet,
                )  # fmt: skip
            else:
                ray.init(address, **quiet)
        except (RuntimeError, ValueError, OSError, ImportError, ray.exceptions.RayError) as error:
            if address is None:
                raise JadferError(
                    f"No Ray cluster could be started here: {_first_line(error)}",
                    "Leave out `ray`; `jobs` alone uses this machine as well.",
                ) from error
            raise OptionError(
                f"There is no Ray cluster at {address}: {_first_line(error)}",
                "`ray status` on its machines shows whether it is running. If it requires a token "
                "(`ray get-auth-token`), set RAY_AUTH_MODE=token.",
            ) from error
        finally:
            stopping.install()  # Ray installs its own handler of SIGTERM
        yield
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
