"""Half B of FER+: the training pictures that the stem of `half_a_stem.pt` has not seen.

    python tests/bench/half_of_ferplus.py FERPLUS HALF --images 6600

The halves are those of `ablation.py`: by a hash of the picture, so that equal ones are on one side.
Validation and test stay whole. HALF is a folder with ferplus.zip and fer2013new.csv.
"""

import argparse
import shutil
import zipfile
from pathlib import Path

from jadfer_cli.training import ferplus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="FER+, as for jadfer train")
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, help="of half B at most")
    a = parser.parse_args()
    faces = ferplus.load(a.data, "train")
    half = [name for i, name in enumerate(faces.image_names) if faces.digest(i)[0] & 1]
    keep = set(half[: a.images])
    place, votes = ferplus.locate(a.data, None)
    root = zipfile.Path(place) if place.is_file() else place
    a.out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(a.out / "ferplus.zip", "w") as out:
        for split, folder in ferplus.FOLDERS.items():
            lines = (root / folder / "label.csv").read_text("utf-8").splitlines()
            if split == "train":
                lines = [line for line in lines if line.split(",")[0] in keep]
            out.writestr(f"{folder}/label.csv", "".join(line + "\n" for line in lines))
            for name in (line.split(",")[0] for line in lines if line):
                out.writestr(f"{folder}/{name}", (root / folder / name).read_bytes())
    if votes is not None:
        shutil.copyfile(votes, a.out / "fer2013new.csv")
    print(f"{len(keep)} of {len(half)} pictures of half B, of {len(faces)} training pictures")


if __name__ == "__main__":
    main()
