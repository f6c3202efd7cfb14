"""A comparison from plan to table: what `jadfer compare-recipes` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jadfer_cli.common import atomic_write, check_writable
from jadfer_cli.errors import OptionError
from jadfer_cli.faces import landmarker
from jadfer_cli.runtime import Runtime
from jadfer_cli.text import count_text, json_text, parsed_json
from jadfer_cli.training import cached, recipes
from jadfer_cli.training import start as starts
from jadfer_cli.training.cached import FineMaps
from jadfer_cli.training.comparison import plan as plans
from jadfer_cli.training.comparison import report as reports
from jadfer_cli.training.comparison import runs, timing
from jadfer_cli.training.comparison.labellings import Labelling, Source, parse
from jadfer_cli.training.comparison.plan import Job, Plan
from jadfer_cli.training.comparison.runs import Finished
from jadfer_cli.training.comparison.table import chosen_rate, tabulate
from jadfer_cli.training.data import AlignedData, DataOptions
from jadfer_cli.training.loop import Callbacks
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.reporting import Reporter
from jadfer_cli.training.start import Start

_TIMING, _LOCK = "timing.json", "comparison.lock"


@dataclass
class Study:
    """A comparison in its folder.

    Attributes:
        plan: What it trains.
        out: Its folder.
        runtime: Device and threads.
        report: Receives notes and progress.
        maps: Folder of stored maps.
        cache: Folder for landmarks; None for the user's cache folder.
    """

    plan: Plan
    out: Path
    runtime: Runtime
    report: Reporter
    maps: Path
    cache: Path | None = None
    _sources: dict[str, Source] = field(default_factory=dict)
    _opened: dict[tuple[str, str], FineMaps] = field(default_factory=dict)

    def run(self, callbacks: Callable[[TrainOptions, int], Callbacks]) -> dict[str, Any]:
        """Trains what is not finished; writes the table after each training.

        Args:
            callbacks: Makes those of one training, from its options and the number of validation
                images.

        Returns:
            The table, as of `table.tabulate`.

        Raises:
            OptionError: Another process works in this folder, or an option is not valid.
            KeyboardInterrupt: A callback asked to stop.
        """
        with self._locked():
            plans.write(self.plan, self.out)
            measured = self._timing()
            # names and start weights, before hours of training
            begins = {r: self._start(recipes.facts(r)["architecture"]) for r in self.plan.recipes}
            todo = sum(1 for job in self._jobs() if not self._is_finished(job))
            self.report.say(f"{self.out}: {count_text(todo, 'training')} to do")
            done = 0
            for job in self._jobs():
                if self._is_finished(job):
                    continue
                done += 1
                rate = "" if job.lr is None else f", learning rate {job.lr:g}"
                self.report.say(
                    f"{done} of {max(todo, done)}: {job.recipe} on {job.labelling}, seed "
                    f"{job.seed}{rate}"
                )
                self._train(job, begins[job.recipe], callbacks)
                reports.write(self.table(measured), self.out)
            table = self.table(measured)
            reports.write(table, self.out)
        return table

    def table(self, measured: Mapping[str, Any]) -> dict[str, Any]:
        """The table of everything finished in the folder, also of earlier plans."""
        files = sorted(self.out.glob(f"runs/*/*/*/{runs.RESULT}"))
        found = (runs.load(file.parent) for file in files)
        return tabulate(self.plan, (one for one in found if one is not None), measured)

    def _jobs(self) -> Iterator[Job]:
        """All trainings, seed 0 of every row first; lazily, as it chooses the learning rate."""
        plan = self.plan
        pairs = [(recipe, labelling) for labelling in plan.labellings for recipe in plan.recipes]
        for recipe, labelling in pairs:
            for rate in plan.lrs or (None,):
                yield Job(recipe, labelling, 0, rate)
        for seed in range(1, plan.seeds):
            for recipe, labelling in pairs:
                yield Job(recipe, labelling, seed, self._chosen_rate(recipe, labelling))

    def _chosen_rate(self, recipe: str, labelling: str) -> float | None:
        if not self.plan.lrs:
            return None
        first = [Job(recipe, labelling, 0, rate) for rate in self.plan.lrs]
        found = [runs.load(job.folder(self.out)) for job in first]
        if any(one is None for one in found):  # while the jobs are only counted
            return self.plan.lrs[0]
        return chosen_rate(self.plan, [one for one in found if one is not None])

    def _is_finished(self, job: Job) -> bool:
        return (job.folder(self.out) / runs.RESULT).is_file()

    def _train(
        self, job: Job, start: Start, callbacks: Callable[[TrainOptions, int], Callbacks]
    ) -> Finished:
        options = self.plan.options(job)
        source = self._source(job.labelling)
        if landmarker.MODEL in recipes.load(job.recipe).needs:
            source.find_meshes()
        labelling = source.labelling(job.labelling)
        maps = None if self.plan.end_to_end else self._maps(labelling, source, options, start)
        calls = callbacks(options, len(labelling.sets["valid"]))
        return runs.train(self.plan, job, labelling, start, self.out, self.runtime, maps, calls)

    def _start(self, architecture: str) -> Start:
        start = starts.load(self.plan.start, architecture).stem_only()
        if not (start.stem or self.plan.end_to_end):
            raise OptionError(
                f"Stored maps need a trained stem, and {self.plan.start} has none.",
                "Give another `start`, or train `end_to_end`.",
            )
        return start

    def _source(self, labelling: str) -> Source:
        dataset, _ = parse(labelling)
        if dataset not in self._sources:
            options = DataOptions(
                dataset, Path(self.plan.data_sets[dataset]), detectors=(self.plan.detector,),
                cache=self.cache, twin_threshold=self.plan.twin_threshold,
            )  # fmt: skip
            data = AlignedData(options, self.runtime.threads, self.report)
            labels = None if self.plan.fer2013 is None else Path(self.plan.fer2013)
            self._sources[dataset] = Source(data, labels, self.runtime.device)
        return self._sources[dataset]

    def _maps(
        self, labelling: Labelling, source: Source, options: TrainOptions, start: Start
    ) -> tuple[FineMaps, FineMaps]:
        """The stored maps of a labelling's training and validation images."""
        found = []
        for split, views in (("train", self.plan.views), ("valid", 1)):
            faces = source.splits[split]
            key = (faces.name, f"{options.augmentation} {options.network.crop_px}")
            if key not in self._opened:
                network = start.build(options.network).to(self.runtime.device)
                task = f"stem maps of {faces.name}, {count_text(views, 'view')}"
                with self.report.counting(task, views * len(faces)) as progress:
                    self._opened[key] = cached.fine_maps(
                        network, faces, self.maps, views=views,
                        augmentation=options.augmentation, progress=progress,
                    )  # fmt: skip
            found.append(self._opened[key].take(labelling.positions[split]))
        return found[0], found[1]

    def _timing(self) -> dict[str, Any]:
        """Times of the networks on this machine; those of an earlier call if nothing is new."""
        file = self.out / _TIMING
        known: dict[str, Any] = parsed_json(file.read_text("utf-8")) if file.is_file() else {}
        wanted = {*self.plan.recipes, *known.get("recipes", {})} & set(recipes.names())
        same = known.get("device") == self.runtime.device_name
        if same and wanted <= known["recipes"].keys():
            return known
        self.report.say(f"timing {count_text(len(wanted), 'network')}")
        configs = {name: self.plan.options(Job(name, "", 0)).network for name in sorted(wanted)}
        known = timing.milliseconds(configs, self.runtime)
        with atomic_write(file) as part:
            part.write_text(json_text(known, indent=1) + "\n", "utf-8", newline="\n")
        return known

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time in the comparison's folder."""
        check_writable(self.out / _LOCK)
        self.out.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.out / _LOCK, timeout=0):
                yield
        except Timeout as error:
            raise OptionError(
                f"Another process works on the comparison in {self.out}.",
                "Wait for it, or give another `out`.",
            ) from error


def prepare(
    out: Path,
    given: Mapping[str, Any],
    runtime: Runtime,
    report: Reporter,
    *,
    maps: Path | None = None,
    cache: Path | None = None,
) -> Study:
    """Checks a comparison's options.

    Args:
        out: Its folder; one that exists is continued.
        given: As of `plan.merged`.
        runtime: Device and threads.
        report: Receives notes and progress.
        maps: Folder of stored maps, which several comparisons may share; None for one in `out`.
        cache: Folder for landmarks; None for the user's cache folder.

    Raises:
        OptionError: A value is not valid, or contradicts the comparison in `out`.
    """
    plan = plans.merged(out, given)
    for labelling in plan.labellings:
        dataset, _ = parse(labelling)
        if dataset not in plan.data_sets:
            raise OptionError(
                f"The labelling {labelling} needs the data set {dataset}.",
                f"E.g. `data_sets` {dataset}=DIR",
            )
    return Study(plan, out, runtime, report, maps or out / "maps", cache)
