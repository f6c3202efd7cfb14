"""How often too little light, too much light or a hand before the mouth changes a face's label.

Run:  python tests/bench/usable_light.py --clips CLIPS [--press press_faces.zip \
          --labels press_faces.csv --photos 10 --untouched 110] [--frames 8] \
          [--hand asl_thanks.mkv] [-o faces.csv]
      python tests/bench/usable_light.py --faces faces.csv    # report on an earlier run

The whole picture is degraded before detection, as in `usable.py`. Exposure multiplies the values
of the picture (2.2 stops of a camera halve them, or double them until they clip). A dark picture
gets the noise of a sensor. Degraded frames of clips are encoded by x264 at CRF 23.

A hand is drawn: fingers in the colour of the cheek, with its texture, cover the mouth. With
`--hand`, the signer's hand in frame 24 of that clip is cut out and put there as well.

The light on a face is measured on the crop's inner part (`quality.light`), and other signs beside
it, so that the rule can be chosen: the sign and its limit that mark most changed labels while they
mark few of those that stay.
"""

import argparse
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from usable import Judge, decoded, encoded, share

from jadfer_cli.faces import align

DARK = (0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05)
BRIGHT = (1.4, 2.0, 2.8, 4.0, 5.6)
_NOISE = 2.0  # standard deviation in grey values, after exposure
_CRF = 23
SIGNS = ("mean", "low", "high", "range", "std", "dark", "clipped", "mouth", "lips", "score")


class LightJudge(Judge):
    """Adds signs of light and occlusion to what `Judge` finds."""

    def face(self, image_rgb: np.ndarray, near: np.ndarray | None = None) -> dict | None:
        found = super().face(image_rgb, near)
        if found is not None:
            found |= signs(align.crop(image_rgb, found["landmarks"][None])[0])
        return found


def signs(crop_rgb: np.ndarray) -> dict[str, float]:
    """Candidates for signs of bad light and of a covered mouth, on an aligned crop."""
    size = len(crop_rgb)
    grey = cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    lab = cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
    cut = slice(round(0.2 * size), round(0.8 * size))
    inner = grey[cut, cut]
    low, high = np.percentile(inner, (5, 95))
    points = align.TEMPLATE * size
    mouth = points[3:].mean(0).round().astype(int)
    w, h = int(0.16 * size), int(0.08 * size)
    at = (slice(mouth[1] - h, mouth[1] + h), slice(mouth[0] - w, mouth[0] + w))
    nose = points[2].round().astype(int)
    around = (slice(nose[1] - h, nose[1] + h), slice(nose[0] - 2 * h, nose[0] + 2 * h))
    return {
        "mean": float(inner.mean()), "low": float(low), "high": float(high),
        "range": float(high - low), "std": float(inner.std()),
        "dark": float((inner < 16).mean()), "clipped": float((inner > 250).mean()),
        "mouth": float(grey[at].std() / max(inner.std(), 1)),
        "lips": float(lab[at][..., 1].max() - np.median(lab[around][..., 1])),
    }  # fmt: skip


def exposed(image: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    """The picture with its values multiplied, and noise if it is darker."""
    values = image * np.float32(gain)
    if gain < 1:
        values = values + rng.normal(0, _NOISE, image.shape).astype(np.float32)
    return np.clip(values.round(), 0, 255).astype(np.uint8)


def with_hand(image: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture with four fingers drawn before the mouth, in the colour of the cheek."""
    eyes, mouth = landmarks[:2], landmarks[3:].mean(0)
    unit = float(np.linalg.norm(eyes[1] - eyes[0]))
    cheek = (landmarks[2] + landmarks[3]) / 2
    x, y, r = int(cheek[0]), int(cheek[1]), max(int(0.12 * unit), 1)
    colour = image[max(y - r, 0) : y + r, max(x - r, 0) : x + r].reshape(-1, 3).mean(0)
    drawn = image.astype(np.float32)
    down = landmarks[3:].mean(0) - eyes.mean(0)
    down /= max(float(np.linalg.norm(down)), 1e-6)
    across = np.array([down[1], -down[0]])
    width = max(int(0.27 * unit), 1)
    for i in range(4):
        tip = mouth + down * (i - 1.5) * 0.26 * unit - across * (0.75 + 0.1 * (i % 2)) * unit
        end = mouth + down * (i - 1.5) * 0.30 * unit + across * 1.8 * unit
        for thick, shade in ((width + 2, 0.72), (width, 0.97 + 0.03 * (i % 2))):
            line = [tuple(int(v) for v in point) for point in (tip, end)]
            cv2.line(drawn, *line, (colour * shade).tolist(), thick, cv2.LINE_AA)
    drawn += rng.normal(0, 1.5, image.shape).astype(np.float32) * (drawn != image)
    return np.clip(drawn.round(), 0, 255).astype(np.uint8)


def cut_hand(clip: Path) -> np.ndarray:
    """The signer's hand in frame 24 of asl_thanks.mkv, RGBA."""
    hand = list(decoded(str(clip)))[24][125:212, 236:338]
    luma, red, _ = np.moveaxis(cv2.cvtColor(hand, cv2.COLOR_RGB2YCrCb), 2, 0)
    skin = cv2.morphologyEx(
        ((red > 138) & (luma > 60)).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
    )
    _, regions, sizes, _ = cv2.connectedComponentsWithStats(skin)
    largest = (regions == 1 + sizes[1:, cv2.CC_STAT_AREA].argmax()) * np.uint8(255)
    return np.dstack([hand, largest])


def with_cut_hand(
    image: np.ndarray, landmarks: np.ndarray, hand_rgba: np.ndarray, mirrored: bool
) -> np.ndarray:
    """The picture with a hand that was cut out of another one before the mouth."""
    unit = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    scale = 1.35 * unit / 60
    hand = cv2.resize(hand_rgba, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    if mirrored:
        hand = hand[:, ::-1]
    shift = np.array([-0.1 if mirrored else 0.1, 0.05]) * unit
    x, y = (landmarks[3:].mean(0) + shift - np.array(hand.shape[1::-1]) / 2).astype(int)
    x1, y1 = max(x, 0), max(y, 0)
    x2, y2 = min(x + hand.shape[1], image.shape[1]), min(y + hand.shape[0], image.shape[0])
    part = hand[y1 - y : y2 - y, x1 - x : x2 - x].astype(np.float32)
    alpha, result = part[:, :, 3:] / 255, image.copy()
    below = result[y1:y2, x1:x2]
    result[y1:y2, x1:x2] = (below * (1 - alpha) + part[:, :, :3] * alpha).astype(np.uint8)
    return result


def degraded(
    image: np.ndarray, face: dict, seed: int, hand_rgba: np.ndarray | None
) -> Iterator[tuple[str, float, np.ndarray]]:
    """Yields kind, level and picture of each degradation."""
    rng = np.random.default_rng(seed)
    for gain in (*DARK, *BRIGHT):
        yield "dark" if gain < 1 else "bright", gain, exposed(image, gain, rng)
    yield "hand", 1, with_hand(image, face["landmarks"], rng)
    if hand_rgba is not None:
        for mirrored in (False, True):
            level = 2 + mirrored
            yield "hand", level, with_cut_hand(image, face["landmarks"], hand_rgba, mirrored)


def of_photos(
    judge: LightJudge, archive: Path, table: pd.DataFrame, n: int, hand: np.ndarray | None
) -> Iterator[dict]:
    """One record per photograph and degradation; the first `n` photographs are degraded."""
    with zipfile.ZipFile(archive) as files:
        for i, name in enumerate(table["file"]):
            data = np.frombuffer(files.read(name), np.uint8)
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1].copy()
            plain = judge.face(image)
            if plain is None:
                continue
            base = {"source": "photo", "name": name, "before": plain["label"],
                    "good": plain["usable"]}  # fmt: skip
            yield base | {"kind": "none", "level": 0} | plain
            for kind, level, worse in degraded(image, plain, i, hand) if i < n else ():
                yield (
                    base | {"kind": kind, "level": level} | (judge.face(worse, plain["box"]) or {})
                )


def of_clips(
    judge: LightJudge, folder: Path, n_frames: int, hand: np.ndarray | None
) -> Iterator[dict]:
    for path in sorted(folder.iterdir()):
        frames = list(decoded(str(path)))
        frames = [frames[i] for i in np.linspace(0, len(frames) - 1, n_frames).astype(int)]
        even = [side // 2 * 2 for side in frames[0].shape[:2]]
        frames = [np.ascontiguousarray(frame[: even[0], : even[1]]) for frame in frames]
        plain = [(frame, face) for frame in frames if (face := judge.face(frame)) is not None]
        worse: dict[tuple[str, float], list[np.ndarray]] = {}
        for i, (frame, face) in enumerate(plain):
            yield {"source": "clip", "name": path.stem, "kind": "none", "level": 0,
                   "before": face["label"], "good": face["usable"]} | face  # fmt: skip
            for kind, level, picture in degraded(frame, face, i, hand):
                worse.setdefault((kind, level), []).append(picture)
        for (kind, level), pictures in worse.items():
            for picture, (_, face) in zip(
                encoded(pictures, _CRF, Fraction(5))[0], plain, strict=True
            ):
                yield {"source": "clip", "name": path.stem, "kind": kind, "level": level,
                       "before": face["label"], "good": face["usable"]} | (
                           judge.face(picture, face["box"]) or {})  # fmt: skip


def curves(seen: pd.DataFrame) -> None:
    """Prints how often labels change by the light on a face, as in columns.md."""
    signs = {
        "dark": ("light", seen["high"] / 255, (0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.3, 1)),
        "bright": ("clipped", seen["clipped"], (0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.01)),
    }
    for kind, (name, values, limits) in signs.items():
        print(f"\n{name} of {kind} faces: % of labels changed, photographs and clips")
        for low, high in pairwise(limits):
            part = seen[(seen["kind"] == kind) & values.between(low, high, inclusive="left")]
            print(f"  {low:4g} to {high:4g}", *(
                f"{source} {part.loc[part['source'] == source, 'changed'].mean():4.0%} of "
                f"{(part['source'] == source).sum():3}" for source in ("photo", "clip")), sep="  ",
            )  # fmt: skip


def report(rows: pd.DataFrame) -> None:
    """Prints the tables; only faces that were usable before the change count."""
    rows = rows[rows["good"].astype(bool)].copy()
    rows["found"] = rows["label"].notna()
    rows["changed"] = rows["label"] != rows["before"]
    untouched = rows[rows["kind"] == "none"]
    print(f"{len(untouched)} untouched faces: signs at the extremes and at 2, 50 and 98 %")
    for name in SIGNS:
        at = untouched[name].quantile([0, 0.02, 0.5, 0.98, 1]).round(3)
        print(f"  {name:8}", *at, sep="  ")
    print("\nLabels that change, % of the faces found")
    for (source, kind, level), part in rows.groupby(["source", "kind", "level"]):
        seen = part[part["found"]]
        print(
            f"{source:6}{kind:7}{level:5g}  n {len(part):4}",
            f"not found {1 - part['found'].mean():4.0%}  changed {share(seen['changed'])}",
            *(f"{name} {seen[name].median():.3g}" for name in SIGNS),
            sep="  ",
        )
    seen = rows[rows["found"]]
    curves(seen)
    edges = {
        "high": (0, 20, 30, 40, 50, 60, 80, 100, 150, 256),
        "range": (0, 10, 15, 20, 25, 30, 40, 50, 70, 100, 256),
        "mean": (0, 10, 20, 30, 40, 60, 100, 150, 180, 200, 220, 240, 256),
        "clipped": (0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.01),
        "blur": (0, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 1),
    }
    for kind in ("dark", "bright"):
        group = seen[seen["kind"].isin([kind, "none"])]
        for name, limits in edges.items():
            print(f"\n{kind}, {name}: % of labels changed")
            for low, high in pairwise(limits):
                part = group[group[name].between(low, high, inclusive="left")]
                if len(part):
                    plain = part[part["kind"] == "none"]
                    print(f"  {low:5g} to {high:5g}  n {len(part):5} ({len(plain)} untouched)",
                          f"changed {share(part['changed'])}", sep="  ")  # fmt: skip
        worse = group[group["kind"] == kind]
        for name in SIGNS:
            if worse[name].notna().all() and worse["changed"].nunique() == 2:
                print(f"{kind}: changed told by {name}: AUC",
                      f"{roc_auc_score(worse['changed'], worse[name]):.2f}")  # fmt: skip
    hands = seen[seen["kind"].isin(["hand", "none"])]
    for name in (*SIGNS, "p_max", "blur", "yaw", "pitch"):
        auc = roc_auc_score(hands["kind"] == "hand", hands[name])
        print(f"hand told from none by {name}: AUC {auc:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--press", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--photos", type=int, default=150, help="how many are degraded")
    parser.add_argument("--untouched", type=int, default=150, help="how many are looked at")
    parser.add_argument("--hand", type=Path, help="asl_thanks.mkv, whose hand is cut out")
    parser.add_argument("--frames", type=int, default=8, help="per clip")
    parser.add_argument("--faces", type=Path, help="report on the faces of an earlier run")
    parser.add_argument("-o", dest="out", type=Path)
    a = parser.parse_args()
    if a.faces:
        report(pd.read_csv(a.faces))
        return
    judge = LightJudge()
    hand = cut_hand(a.hand) if a.hand else None
    sources = [of_clips(judge, a.clips, a.frames, hand)] if a.clips else []
    if a.press:
        table = pd.read_csv(a.labels)
        table = table[table["source"] == "press"].sample(frac=1, random_state=0)
        table["turn"] = table.groupby("label").cumcount()  # rare labels come early
        table = table.sort_values(["turn", "label"], kind="stable").head(max(a.photos, a.untouched))
        sources.append(of_photos(judge, a.press, table, a.photos, hand))
    faces = pd.DataFrame(list(chain(*sources))).drop(columns=["box", "landmarks"])
    if a.out:
        faces.to_csv(a.out, index=False)
    report(faces)


if __name__ == "__main__":
    main()
