"""The rows of the demo, kept by revision: they may only change together with the revision.

After a change of the rows that is meant, raise `RESULTS_REVISION`, say in `CHANGES` how they
differ, and keep the new ones:

    python tests/pipeline/test_revision.py
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import jadfer_cli
from jadfer_cli._version import __version__
from jadfer_cli.results.revision import (
    CHANGES,
    RESULTS_REVISION,
    changes_since,
    row_revision,
)

DEMO = Path(__file__).parents[2] / "examples" / "demo.mp4"
GOLDEN = Path(__file__).parent / "golden" / f"demo-rows-{RESULTS_REVISION}.csv"
# fp32 on another machine: with AVX2 and AVX-512, boxes of followed faces differed by up to 0.49 px,
# angles by 0.75 degrees and scores by 0.0004
TOLERANCE = {"p_": 1e-3, "bbox": 1.0, "_deg": 1.5, "time_s": 1e-6, "duration_s": 1e-6}
EXACT = ("frame", "frame_status", "n_faces", "track_id", "face_source", "expression")
JUDGED = ("usable", "unusable_reason")  # may differ for faces at a threshold
HINT = "raise RESULTS_REVISION, say why in CHANGES, run: python tests/pipeline/test_revision.py"


def demo_rows() -> pd.DataFrame:
    """The rows of the demo with the default options of a plain install on a CPU."""
    rows = jadfer_cli.Annotator(
        jadfer_cli.AnnotateOptions(
            faces=jadfer_cli.FaceOptions(detector="centerface"),
            model=jadfer_cli.ModelOptions(device="cpu", threads=1),
        )
    ).annotate(DEMO)
    close = [name for name in rows if any(part in name for part in TOLERANCE) and name != "p_max"]
    return rows[[*EXACT, *close, *JUDGED]]


def differences(rows: pd.DataFrame, kept: pd.DataFrame) -> list[str]:
    """What differs by more than the tolerance, in words."""
    if list(rows) != list(kept) or len(rows) != len(kept):
        return ["columns or number of rows"]
    found = [
        f"{name}"
        for name in EXACT
        if rows[name].astype("string").fillna("").tolist()
        != kept[name].astype("string").fillna("").tolist()
    ]
    for name in rows.columns.drop([*EXACT, *JUDGED]):
        allowed = next(limit for part, limit in TOLERANCE.items() if part in name)
        a, b = rows[name].to_numpy(float, na_value=np.nan), kept[name].to_numpy(float)
        if not np.allclose(a, b, rtol=0, atol=allowed, equal_nan=True):
            found.append(f"{name} by {np.nanmax(np.abs(a - b)):.3g}")
    for name in JUDGED:
        a, b = (each[name].astype("string").fillna("") for each in (rows, kept))
        if (n_other := int((a != b).sum())) > 2:
            found.append(f"{name} of {n_other} faces")
    return found


@pytest.mark.slow
def test_rows_change_only_with_their_revision():
    assert GOLDEN.is_file(), HINT
    rows, kept = demo_rows(), pd.read_csv(GOLDEN, dtype={"track_id": "Int32"})
    assert differences(rows, kept) == [], HINT
    # and the comparison notices a change
    moved = rows.copy()
    moved["p_happiness"] += 0.002
    moved["bbox_x1"] += 1
    assert [text.split()[0] for text in differences(moved, kept)] == ["bbox_x1", "p_happiness"]
    assert differences(rows.assign(track_id=rows["track_id"] + 1), kept) == ["track_id"]


def test_every_revision_says_what_changed():
    assert list(CHANGES) == list(range(1, RESULTS_REVISION + 1))
    assert all(text and since for since, text in CHANGES.values())
    assert changes_since(RESULTS_REVISION) == ""
    assert changes_since(2) == f"{CHANGES[3][1]}; {CHANGES[4][1]}" + "".join(
        f"; {text}" for number, (_, text) in CHANGES.items() if number > 4
    )


def test_the_revision_of_older_results_follows_from_their_version():
    made_by = {"0.1.0": 1, "0.2.0": 2, "0.3.0": 3, "0.4.0": 4, "0.4.1": 4, "0.5.0": 4, "odd": 1}
    for version, revision in made_by.items():
        assert row_revision({"jadfer_version": version}) == revision
    assert row_revision({"jadfer_version": __version__, "results_revision": 7}) == 7
    assert row_revision({}) == 1


if __name__ == "__main__":
    if GOLDEN.exists():
        raise SystemExit(f"{GOLDEN} exists: rows of a revision never change; raise the revision")
    GOLDEN.parent.mkdir(exist_ok=True)
    demo_rows().round({"time_s": 7, "duration_s": 7}).to_csv(
        GOLDEN, index=False, float_format="%.7g"
    )
    print(GOLDEN)
