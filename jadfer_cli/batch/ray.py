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
from jadfer_cli.batch.outcome import Outcome
from jadfer_cli.batch.plan import Task
from jadfer_cli.batch.ray_worker import Actor, Message
from jadfer_cli.batch.supervisor import TICK_S, Crew, Worker
from jadfer_cli.errors import JadferError, OptionError
from jadfer_cli.options import AnnotateOptions, ModelOptions
from jadfer_cli.runtime import usable_cores

_OBJECT_STORE_BYTES = 80 << 20  # about the least that Ray takes; only messages go through it
_ASK_S = 10.0  # for an actor that is idle to answer, or killed to end
_HINT = "pip install 'jadfer-cli[ray]'"


@dataclass(frozen=True)
class Slots:
    """How a cluster is dealt out.

    Attributes:
        n: Actors.
        cpus: CPUs that each takes.
        gpus: GPUs that each takes.
        threads: CPU threads of each.
    """

    n: int
    cpus: int
    gpus: float
    threads: int


class _RayWorker(Worker):
    """An actor, wherever it runs. A new process of the same actor is the same worker."""

    def __init__(self, number: int, actor: Any) -> None:
        super().__init__(number)
        self.actor = actor
        self.doing: Any = actor.load.remote()  # what it was told to do last
        self._asked: Any = None  # a question that is not answered yet

    def _send(self, task: Task) -> bool:
        self.doing = self.actor.annotate.remote(task)
        return True

    def messages(self) -> Iterator[Message]:
        """What it says.

        Raises:
            ray.exceptions.RayError: It died, also when Ray had tried again.
        """
        import ray

        if self.doing is None:
            return
        ended = bool(ray.wait([self.doing], timeout=0)[0])
        with contextlib.suppress(ray.exceptions.RayError):  # it is being restarted
            if (
                self._asked is not None
                and (ray.wait([self._asked], timeout=_ASK_S if ended else 0)[0])
            ):
                asked, self._asked = self._asked, None
                yield from ray.get(asked)
        if ended:
            doing, self.doing, self._asked = self.doing, None, None
            yield from ray.get(doing)
        elif self.task is not None and self._asked is None:
            # not asked again of a new process: it would only wait there
            self._asked = self.actor.told.options(max_task_retries=0).remote()

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
        # Ray does not wait for the end of its process, which holds the result's lock
        until_s = time.monotonic() + _ASK_S
        while self.task and is_being_written(self.task.target) and time.monotonic() < until_s:
            time.sleep(0.05)

    def end(self, grace_s: float) -> None:
        import ray

        from jadfer_cli.results.unfinished import remove_leftovers

        if self.task is not None and self.doing is not None:
            ray.wait([self.doing], timeout=grace_s)
        self.kill()
        if self.task is not None:
            with contextlib.suppress(OSError):
                remove_leftovers(self.task.target)


class RayBatch(Crew[_RayWorker]):
    """Annotates many videos by the actors of a Ray cluster; other arguments as of `Crew`.

    An actor that dies is restarted by Ray and its video tried once more; if it dies again,
    it costs the video.

    Args:
        address: Of the cluster; None starts one on this machine and ends it with the batch.
        jobs: Actors at most; None takes all that the cluster has room for.
    """

    def __init__(
        self, options: AnnotateOptions, *, address: str | None, jobs: int | None, **more: Any
    ) -> None:
        super().__init__(options, jobs=jobs or 1, **more)
        self.address, self._wanted = address, jobs
        self._slots = Slots(1, 1, 0, 1)

    def run(self, tasks: Sequence[Task]) -> Outcome:
        """As of `Crew`, on the cluster.

        Raises:
            OptionError: Ray or the cluster is not there, or has no room.
            JadferError, OutputError, KeyboardInterrupt: As of `Crew`.
        """
        _require_ray()
        if self.options.model.device.startswith("cuda:"):
            raise OptionError(
                f"--device {self.options.model.device} does not go with --ray, as Ray deals the "
                "GPUs out.",
                "Use --device cuda or auto.",
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
                stopping.raise_if_stopped()  # Ray raises its own, which has lost the signal
                raise
            except ray.exceptions.RayError as error:
                raise JadferError(
                    f"The Ray cluster is gone: {_first_line(error)}",
                    "Run the command again with --skip-existing.",
                ) from error

    def _new(self, number: int) -> _RayWorker:
        import ray

        slots = self._slots
        model = dataclasses.replace(self.options.model, threads=slots.threads)
        options = dataclasses.replace(self.options, model=model)
        actors = ray.remote(Actor).options(
            num_cpus=slots.cpus,
            num_gpus=slots.gpus,
            max_restarts=-1,
            max_task_retries=1,
            max_concurrency=2,  # it answers while it annotates
        )
        return _RayWorker(number, actors.remote(options, self.if_exists, os.getcwd(), __version__))

    def _wait(self) -> None:
        import ray

        doing = [worker.doing for worker in self._workers if worker.doing is not None]
        if doing:
            ray.wait(doing, timeout=TICK_S)
        else:
            time.sleep(TICK_S)

    def _hear(self, worker: _RayWorker) -> bool:
        from ray.exceptions import RayError

        try:
            for kind, fields in worker.messages():
                self._message(worker, kind, fields)
        except RayError as error:
            if worker.task is None:
                worker.unready = JadferError(
                    f"A Ray actor died while it loaded the networks: {_first_line(error)}",
                    "`jadfer doctor` on its machine tells what is wrong with the installation.",
                )
                return False
            self._lost(
                worker, "crash", "The worker died at this video, also when Ray tried again.",
                "A library crashed on it, or memory ran out; convert it, or try fewer --jobs.",
            )  # fmt: skip
            return False
        if worker.unready is not None:
            return False
        return not self._stalled(worker)


def slots_here(model: ModelOptions, node: dict[str, float], jobs: int) -> Slots:
    """So many actors on this machine, which share its cores and GPUs."""
    n_gpus = int(node.get("GPU", 0)) if model.device != "cpu" else 0
    # Ray counts in 1/10,000; a third of a GPU must fit three times
    gpus = math.floor(10_000 / math.ceil(jobs / n_gpus)) / 10_000 if n_gpus else 0
    return Slots(jobs, 1, gpus, model.threads or max(usable_cores() // jobs, 1))


def slots_of(model: ModelOptions, nodes: Sequence[dict[str, float]], wanted: int | None) -> Slots:
    """An actor a GPU, where the cluster has some and may use them, else one a CPU.

    An actor on a GPU gets its share of the machine's CPUs; one on CPUs takes --threads.

    Args:
        model: Device and threads.
        nodes: What each machine has: "CPU", "GPU".
        wanted: Actors at most.

    Raises:
        OptionError: There is no room for one.
    """
    gpu_nodes = [node for node in nodes if node.get("GPU", 0) >= 1]
    if gpu_nodes and model.device != "cpu":
        n = int(sum(node["GPU"] for node in gpu_nodes))
        share = min(node.get("CPU", 0) // node["GPU"] for node in gpu_nodes)
        threads = model.threads or max(int(share), 1)
        cpus, gpus = int(min(threads, share)), 1
    else:
        cpus = threads = model.threads or 1
        n, gpus = int(sum(node.get("CPU", 0) // cpus for node in nodes)), 0
    if n < 1:
        raise OptionError(
            f"The Ray cluster has no room for an actor with {cpus} CPUs.",
            "Give fewer --threads, or add machines to the cluster.",
        )
    return Slots(min(n, wanted or n), cpus, gpus, threads)


def _require_ray() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise OptionError(f"--ray needs Ray, which cannot be loaded: {error}.", _HINT) from error


@contextlib.contextmanager
def _cluster(address: str | None, jobs: int) -> Iterator[None]:
    """A connection to a cluster; without an address to one that is started, and ended, here.

    Raises:
        OptionError: There is none at the address.
        JadferError: None can be started.
    """
    import ray

    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    folder = None
    try:
        try:
            if address is None:
                # not the system's folder for such: Ray's sockets need a short path
                short = "/tmp" if os.path.isdir("/tmp") else None
                folder = tempfile.mkdtemp(prefix="jadfer-", dir=short)
                # new versions keep others out by a token, and would leave it in the home folder
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
                    "Leave --ray out; --jobs alone uses this machine as well.",
                ) from error
            raise OptionError(
                f"There is no Ray cluster at {address}: {_first_line(error)}",
                "`ray status` on its machines shows whether it runs. If it asks for a token (`ray "
                "get-auth-token`), set RAY_AUTH_MODE=token.",
            ) from error
        finally:
            stopping.install()  # Ray takes SIGTERM for itself
        yield
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
