"""How similar the faces of one track are, and those of different people, in videos.

    jadfer identify RESULTS --recogniser FILE -o named/ --keep-embeddings faces.npz
    python tests/bench/identity_clips.py faces.npz --same single_face,face_noface

Each track is taken for one person; --same names results that show the same one. Prints, for runs
of four sampled faces, the cosines of neighbouring runs of one track, on which `--alike` decides,
and of runs of different people; and the cosines of whole tracks, on which `--threshold` decides.
"""

import argparse
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np

from jadfer_cli.analysis.people.parts import mean_vector

RUN = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--same", action="append", default=[], help="names of results, by commas")
    given = parser.parse_args()
    same = {name: group for group in given.same for name in group.split(",")}
    with np.load(given.embeddings) as file:
        data = {name: file[name] for name in file.files}
    tracks = {}
    for key in sorted(set(zip(data["result"].tolist(), data["track_id"].tolist(), strict=True))):
        own = (data["result"] == key[0]) & (data["track_id"] == key[1])
        name = Path(key[0]).stem
        tracks[name, key[1]] = (same.get(name, f"{name}/{key[1]}"), data["embedding"][own])
    within, between = [], []
    runs = {key: [mean_vector(v[at : at + RUN]) for at in range(0, len(v) - RUN + 1, RUN)]
            for key, (_, v) in tracks.items()}  # fmt: skip
    for key, means in runs.items():
        within += [(float(a @ b), key) for a, b in pairwise(means)]
    for one, two in combinations(tracks, 2):
        if tracks[one][0] != tracks[two][0]:
            between += [float(a @ b) for a in runs[one] for b in runs[two]]
    print(f"{len(tracks)} tracks, {len({person for person, _ in tracks.values()})} people")
    print(f"neighbouring runs of one track ({len(within)}): lowest "
          + ", ".join(f"{c:.2f} ({name})" for c, (name, _) in sorted(within)[:4]))  # fmt: skip
    print(f"runs of two people ({len(between)}): highest "
          f"{', '.join(f'{c:.2f}' for c in sorted(between)[::-1][:4])}; "
          + "above " + ", ".join(f"{t}: {np.mean(np.array(between) > t):.1%}"
                                 for t in (0.2, 0.3, 0.35, 0.4)))  # fmt: skip
    pairs = [(float(mean_vector(tracks[a][1]) @ mean_vector(tracks[b][1])), a[0], b[0],
              tracks[a][0] == tracks[b][0]) for a, b in combinations(tracks, 2)]  # fmt: skip
    for is_same, text in ((True, "one person"), (False, "two people")):
        chosen = sorted((p for p in pairs if p[3] == is_same), reverse=True)
        print(f"whole tracks of {text} ({len(chosen)}): "
              + "; ".join(f"{c:.2f} {a} and {b}" for c, a, b, _ in chosen[:4]))  # fmt: skip


if __name__ == "__main__":
    main()
