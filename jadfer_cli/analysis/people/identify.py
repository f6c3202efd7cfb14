"""Find out who is who in results, within and across videos: the work of `jadfer identify`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from jadfer_cli.analysis.frame_times import Ints, frame_spans
from jadfer_cli.analysis.people.embedding import Embedder, Frames
from jadfer_cli.analysis.people.match import Matches, conflicts, to_groups, to_people
from jadfer_cli.analysis.people.parts import (
    Part,
    best_cut,
    clear_faces,
    first_of_parts,
    mean_vector,
    sampled_rows,
)
from jadfer_cli.analysis.people.references import References
from jadfer_cli.analysis.source_video import VideoFinder
from jadfer_cli.analysis.video_rows import check_same_video, rows_of_video
from jadfer_cli.errors import JadferError
from jadfer_cli.records import FloatArray
from jadfer_cli.results.load import Result
from jadfer_cli.results.schema import UNKNOWN
from jadfer_cli.video.container import check_file
from jadfer_cli.video.rotation import rotated
from jadfer_cli.video.timeline import probe

_COLUMNS = ("interocular_px", "blur", "yaw_deg")


@dataclass(frozen=True)
class IdentifyOptions:
    """How people are recognised.

    Attributes:
        threshold: Smallest cosine of two embeddings of one person.
        alike: Smallest cosine of neighbouring parts of a track that are not divided.
        step_s: Time between the faces of a track that are recognised.
        force: Accept another file than the one that was annotated.
        keep_vectors: Keep the embeddings of all recognised faces.
    """

    threshold: float
    alike: float
    step_s: float
    force: bool = False
    keep_vectors: bool = False


@dataclass(frozen=True)
class Seen:
    """The parts of the tracks of one result.

    Attributes:
        result: The result.
        frames: int64 (n,), frame of each row.
        parts: Parts in which a face was recognised, by track and time.
        n_lost: Number of tracks in which no face was found again.
        vectors: Frame, track ID and embedding of each recognised face; None unless kept.
    """

    result: Result
    frames: Ints
    parts: tuple[Part, ...]
    n_lost: int
    vectors: tuple[Ints, Ints, FloatArray] | None = None


@dataclass(frozen=True)
class Identified:
    """Who is who.

    Attributes:
        names: Names of the people, in order.
        seen: The results that were read, in their order.
        failures: Results whose videos could not be read, with the reason.
        matches: Who each part shows; the parts of all results, in order.
    """

    names: tuple[str, ...]
    seen: tuple[Seen, ...]
    failures: tuple[tuple[Result, JadferError], ...]
    matches: Matches

    @property
    def parts(self) -> list[Part]:
        """The parts of all results, in order."""
        return [part for each in self.seen for part in each.parts]

    def name_of(self, index: int) -> str:
        """The name of the person that part `index` shows."""
        person = int(self.matches.person[index])
        return UNKNOWN if person < 0 else self.names[person]


def read_parts(
    result: Result, index: int, finder: VideoFinder, embedder: Embedder, options: IdentifyOptions,
    progress: Frames,
) -> Seen:  # fmt: skip
    """Recognise faces of one result, and divide its tracks into parts that show one person each.

    Args:
        result: The result.
        index: Its number, stored in the parts.
        finder: Finds its video.
        embedder: Recognises the faces.
        options: How.
        progress: Wraps the frames as they are read.

    Raises:
        VideoError: The video is missing or cannot be read.
        ResultError: The result is of another video or was changed.
    """
    video = finder.find(result)
    check_file(str(video))
    if not options.force:
        check_same_video(video, result)
    info = rotated(probe(str(video)), result.metadata["options"]["video"].get("rotate"))
    rows = rows_of_video(result, info, [name for name in _COLUMNS if name in result.columns])
    rows = rows.reindex(columns=[*rows.columns, *(c for c in _COLUMNS if c not in rows)])
    spans = frame_spans(rows, result.metadata)

    def embed(positions: Ints) -> FloatArray:
        return embedder.rows(info, rows, positions, progress)

    sampled = sampled_rows(rows, options.step_s)
    vectors = embed(sampled)
    found = np.isfinite(vectors).all(axis=1)
    at, vectors = sampled[found], vectors[found]
    tracks = rows["track_id"].to_numpy(np.float64, na_value=-1).astype(np.int64)
    tables: dict[int, list[tuple[Ints, Ints]]] = {}
    for track in np.unique(tracks[at]).tolist():
        own = tracks[at] == track
        tables[track] = _divide(np.flatnonzero(tracks == track), at[own], vectors[own], options)
    refined = _refine(tables, at, vectors, embed)
    start_s, end_s = (spans.loc[rows["frame"], name].to_numpy() for name in ("start_s", "end_s"))
    clear = clear_faces(rows)
    parts = [
        Part(
            result=index, track_id=track, rows=own,
            vector=_part_vector(vectors, clear[at], inside), n_samples=len(inside),
            clear=bool(clear[at[inside]].any()),
            start_s=float(start_s[own[0]]), end_s=float(end_s[own[-1]]),
            seen_s=float((end_s[own] - start_s[own]).sum()),
        )
        for track, pieces in refined.items()
        for own, samples in pieces
        for inside in [np.flatnonzero(np.isin(at, samples))]
    ]  # fmt: skip
    lost = len(np.unique(tracks[tracks >= 0])) - len(tables)
    frames = rows["frame"].to_numpy(np.int64)
    kept = (frames[at], tracks[at], vectors) if options.keep_vectors else None
    return Seen(result, frames, tuple(parts), lost, kept)


def _divide(
    own: Ints, samples: Ints, vectors: FloatArray, options: IdentifyOptions
) -> list[tuple[Ints, Ints]]:
    """Divide one track: the rows and the sampled rows of each of its parts.

    The rows between two parts go to the later one until `_refine` decides.
    """
    starts = first_of_parts(vectors, options.alike)
    edges = [0, *np.searchsorted(own, samples[starts[1:]]).tolist(), len(own)]
    ends = [*starts, len(samples)]
    return [(own[a:b], samples[c:d])
            for (a, b), (c, d) in zip(pairwise(edges), pairwise(ends), strict=True)]  # fmt: skip


def _refine(
    tables: dict[int, list[tuple[Ints, Ints]]], at: Ints, vectors: FloatArray,
    embed: Callable[[Ints], FloatArray],
) -> dict[int, list[tuple[Ints, Ints]]]:  # fmt: skip
    """Find the frame in which each track changes its person: recognise every face in between."""
    doubtful = {}
    for track, pieces in tables.items():
        for n, ((before, last), (after, first)) in enumerate(pairwise(pieces)):
            rows = np.concatenate([before, after])
            doubtful[track, n] = rows[(rows > last[-1]) & (rows < first[0])]
    if not doubtful:
        return tables
    wanted = np.unique(np.concatenate(list(doubtful.values())))
    found = embed(wanted)
    for (track, n), between in doubtful.items():
        pieces = tables[track]
        (before, last), (after, first) = pieces[n], pieces[n + 1]
        means = [mean_vector(vectors[np.isin(at, samples)]) for samples in (last, first)]
        cut = best_cut(found[np.searchsorted(wanted, between)], *means)
        rows = np.concatenate([before, after])
        edge = int(np.searchsorted(rows, between[cut] if cut < len(between) else first[0]))
        pieces[n], pieces[n + 1] = (rows[:edge], last), (rows[edge:], first)
    return tables


def _part_vector(vectors: FloatArray, clear: np.ndarray, inside: Ints) -> FloatArray:
    """Mean embedding of a part: of its clear faces, or of all if none is."""
    good = inside[clear[inside]]
    return mean_vector(vectors[good if len(good) else inside])


def decide(
    seen: Sequence[Seen], failures: Sequence[tuple[Result, JadferError]],
    references: References | None, threshold: float,
) -> Identified:  # fmt: skip
    """Name the people.

    Args:
        seen: The parts of each result.
        failures: Results that could not be read.
        references: The people to recognise; None to group the parts by similarity.
        threshold: Smallest cosine of one person.
    """
    # parts carry the number of their result among those that were read
    seen = [replace(each, parts=tuple(replace(p, result=i) for p in each.parts))
            for i, each in enumerate(seen)]  # fmt: skip
    parts = [part for each in seen for part in each.parts]
    names = () if references is None else references.names
    if not parts:
        empty = Matches(np.empty(0, np.int64), np.empty(0))
        return Identified(names, tuple(seen), tuple(failures), empty)
    apart = conflicts(parts, [each.frames for each in seen])
    if references is not None:
        vectors = np.stack([part.vector for part in parts])
        matches = to_people(vectors, references.vectors, apart, threshold)
    else:
        # numbered by result, and by the time at which they appear
        order = sorted(range(len(parts)), key=lambda i: (parts[i].result, parts[i].start_s))
        ordered = to_groups([parts[i] for i in order], apart[np.ix_(order, order)], threshold)
        back = np.argsort(order)
        matches = Matches(ordered.person[back], ordered.score[back])
        n = int(matches.person.max(initial=-1)) + 1
        names = tuple(f"person_{k + 1:0{len(str(n))}}" for k in range(n))
    return Identified(names, tuple(seen), tuple(failures), matches)


def identify(
    results: Sequence[Result], finder: VideoFinder, embedder: Embedder,
    references: References | None, options: IdentifyOptions,
    each: Callable[[Sequence[Result]], Iterable[Result]] = iter,
    progress: Frames = lambda frames, n: frames,
) -> Identified:  # fmt: skip
    """Find out who is who in results; one unreadable video does not stop the others.

    Args:
        results: The results.
        finder: Finds their videos.
        embedder: Recognises faces.
        references: The people to recognise; None to group faces by similarity.
        options: How.
        each: Yields the results, and may show progress.
        progress: Wraps the frames of one video.
    """
    seen, failures = [], []
    for index, result in enumerate(each(results)):
        try:
            seen.append(read_parts(result, index, finder, embedder, options, progress))
        except JadferError as error:
            failures.append((result, error))
    return decide(seen, failures, references, options.threshold)


def person_columns(identified: Identified, which: int, n_rows: int) -> pd.DataFrame:
    """Return the columns `person` and `person_score` of one result.

    Args:
        identified: Who is who.
        which: The number of the result among those that were read.
        n_rows: Number of its rows.

    Returns:
        One row per row of the result. A face in a track without any recognised face is unknown.
        If two faces of a frame got the same name, the less similar one is unknown there.
    """
    person = np.full(n_rows, None, object)
    score = np.full(n_rows, np.nan)
    for i, part in enumerate(identified.parts):
        if part.result == which:
            person[part.rows] = identified.name_of(i)
            score[part.rows] = identified.matches.score[i]
    frames = identified.seen[which].frames
    table = pd.DataFrame({"frame": frames, "person": person, "score": score})
    named = table[table["person"].notna() & (table["person"] != UNKNOWN)]
    doubles = named.sort_values("score", ascending=False, na_position="last", kind="stable")
    table.loc[doubles.index[doubles.duplicated(["frame", "person"])], "person"] = UNKNOWN
    return table[["person", "score"]].rename(columns={"score": "person_score"})
