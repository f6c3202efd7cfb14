"""Many results in one dataset: rows as of pandas.concat, what is refused, what is reported."""

import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from made import Made, Track, options
from typer.testing import CliRunner

from jadfer_cli.analysis.find import find_results
from jadfer_cli.cli.app import app
from jadfer_cli.errors import ResultError
from jadfer_cli.expression import checkpoint
from jadfer_cli.labels import LABELS
from jadfer_cli.results import load

CATEGORIES = ["video", "frame_status", "face_source", "expression"]


@pytest.fixture
def collect():
    def run(*arguments, code=0):
        result = CliRunner().invoke(app, ["collect", *map(str, arguments)])
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        return " ".join(result.stderr.split())

    return run


def made(path, n_frames=6, sha256="0", **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    tracks = how.pop("tracks", [Track(0, [0, 1, 2], "happiness"), Track(1, [2, 3], "sadness")])
    how = {"video": f"clips/{path.stem}.mp4", "sha256": sha256 * 64} | how
    return Made(tracks, n_frames=n_frames, **how).write(path)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made_once")
    made(folder / "a.parquet", sha256="a", landmarks=True)
    made(folder / "day1" / "b.parquet", sha256="b", tracks=[])
    made(folder / "day1" / "c.parquet", sha256="c", tracks=[Track(0, [8], "fear")], n_frames=9)
    return folder


@pytest.fixture
def three(made_once, tmp_path):
    """Three results of six or more frames: with two faces, no face, and one at the end."""
    folder = shutil.copytree(made_once, tmp_path / "results")
    return folder, [folder / name for name in ("a.parquet", "day1/b.parquet", "day1/c.parquet")]


def test_earlier_files_of_the_shipped_weights_are_one_model(tmp_path, collect):
    entry = next(iter(checkpoint.registry().values()))
    for i, sha256 in enumerate((entry.sha256, *entry.earlier_sha256)):
        made(tmp_path / "in" / f"{i}.parquet", sha256=str(i), model_sha256=sha256)
    assert "model" not in collect(tmp_path / "in", "-o", tmp_path / "all.parquet")


def plain(rows):
    """Categories as texts: pandas.concat of different categories gives texts, too."""
    return rows.astype(dict.fromkeys(CATEGORIES, object))


def concatenated(paths):
    return pd.concat([plain(pd.read_parquet(path)) for path in paths], ignore_index=True)


def test_another_ending_is_no_folder(three, collect, tmp_path):
    folder, _ = three
    stderr = collect(folder, "-o", tmp_path / "all.ods", code=2)
    assert "does not end in .parquet" in stderr
    assert not (tmp_path / "all.ods").exists()
    assert "3 videos" in collect(folder, "-o", f"{tmp_path / 'study.1'}/")
    assert "3 videos" in collect(folder, "-o", tmp_path / "study.1", "--overwrite")


def test_a_file_has_the_rows_of_concat_and_the_types_of_one_result(three, collect, tmp_path):
    folder, paths = three
    out = tmp_path / "all.parquet"
    assert collect(folder, "-o", out).endswith("all.parquet: 3 videos, 22 rows")
    rows = pd.read_parquet(out)
    pd.testing.assert_frame_equal(plain(rows), concatenated(paths))
    single = pd.read_parquet(paths[0])
    assert rows.dtypes.astype(str).to_dict() == single.dtypes.astype(str).to_dict()
    assert not rows.duplicated(["video", "frame", "track_id"]).any()
    metadata = rows.attrs["jadfer"]
    assert metadata["model"] == single.attrs["jadfer"]["model"]
    assert metadata["collected"]["videos"] == 3 and metadata["collected"]["rows"] == 22
    sources = metadata["sources"]
    assert [s["result"] for s in sources] == ["a.parquet", "day1/b.parquet", "day1/c.parquet"]
    assert [s["sha256"][0] for s in sources] == ["a", "b", "c"]
    assert [s["rows"] for s in sources] == [7, 6, 9]
    assert sources[1]["counts"]["frames_without_face"] == 6
    assert not list(tmp_path.glob("*.part"))


def test_a_folder_reads_as_one_table(three, collect, tmp_path):
    folder, paths = three
    collect(folder, "-o", tmp_path / "all")
    names = ["a.parquet", "day1/b.parquet", "day1/c.parquet"]
    files = (tmp_path / "all").rglob("*.parquet")
    assert sorted(p.relative_to(tmp_path / "all").as_posix() for p in files) == names
    rows = pd.read_parquet(tmp_path / "all")
    pd.testing.assert_frame_equal(plain(rows), concatenated(paths))
    single = pd.read_parquet(paths[0])
    assert rows.dtypes.astype(str).to_dict() == single.dtypes.astype(str).to_dict()
    assert pd.read_parquet(tmp_path / "all" / names[1]).attrs["jadfer"]["sources"][0]["rows"] == 6


def test_other_programs_read_both(three, collect, tmp_path):
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    folder, paths = three
    collect(folder, "-o", tmp_path / "all.parquet")
    collect(folder, "-o", tmp_path / "all")
    expected = concatenated(paths).groupby("video")["p_fear"].agg(["size", "mean"])
    for place, pattern in (("all.parquet", "all.parquet"), ("all", "all/**/*.parquet")):
        rows = polars.scan_parquet(tmp_path / place)
        found = rows.group_by("video").agg(polars.len(), polars.col("p_fear").mean()).collect()
        sql = f"SELECT video, count(*), avg(p_fear) FROM '{tmp_path / pattern}' GROUP BY video"
        for triples in (found.rows(), duckdb.sql(sql).fetchall()):
            assert {str(video): n for video, n, _ in triples} == expected["size"].to_dict()
            means = {str(video): np.nan if mean is None else mean for video, _, mean in triples}
            assert means == pytest.approx(expected["mean"].to_dict(), nan_ok=True, abs=1e-6)


def test_its_own_output_is_recognised_and_is_no_result_of_one_video(three, collect):
    folder, paths = three
    out = folder / "all.parquet"
    collect(folder, "-o", out)
    found = find_results([str(folder)], recursive=True)
    assert [result.path for result in found.results] == paths
    with pytest.raises(ResultError, match=r"a dataset of 3 videos, made by `jadfer collect`"):
        load.load(out)
    assert "Add --overwrite" in collect(folder, "-o", out, code=2)
    stderr = collect(*folder.glob("*.parquet"), *paths, "-o", out, "--overwrite")
    assert "datasets of an earlier jadfer collect: " in stderr and stderr.endswith(
        "3 videos, 22 rows"
    )
    collect(folder, "-o", folder / "all")
    stderr = collect(folder, "-o", folder / "all", "--overwrite", "--quiet")
    assert stderr == "" and len(pd.read_parquet(folder / "all")) == 22
    assert "is a dataset of 3 videos" in collect(out, "-o", folder / "x.parquet", code=1)


def test_nothing_else_is_ever_replaced(three, collect, tmp_path):
    folder, paths = three
    before = paths[0].read_bytes()
    stderr = collect(folder, "-o", paths[0], "--overwrite", code=1)
    assert "is a result of jadfer annotate" in stderr and paths[0].read_bytes() == before
    assert "not a dataset" in collect(folder, "-o", folder, "--overwrite", code=1)
    (tmp_path / "table.parquet").write_bytes(b"mine")
    stderr = collect(folder, "-o", tmp_path / "table.parquet", "--overwrite", code=1)
    assert "not a dataset" in stderr and (tmp_path / "table.parquet").read_bytes() == b"mine"
    assert "file, not a folder" in collect(folder, "-o", tmp_path / "table.parquet" / "x", code=1)


def test_every_skipped_file_is_reported(three, collect, tmp_path):
    folder, paths = three
    (folder / "cut.parquet").write_bytes(paths[0].read_bytes()[:2000])
    (folder / ".under way.parquet.parts").mkdir()
    pd.DataFrame({"x": [1]}).to_parquet(folder / "day1" / "table.parquet")
    stderr = collect(folder, "-o", tmp_path / "all.parquet", code=1)  # as one is damaged
    assert f"damaged files: {folder / 'cut.parquet'}." in stderr
    assert f"unfinished results: {folder / 'under way.parquet'}." in stderr
    assert (
        f"files that are not results of jadfer annotate: {folder / 'day1' / 'table.parquet'}."
        in stderr
    )
    assert "landmarks" not in stderr and stderr.endswith("3 videos, 22 rows; 3 warnings")
    # a file that is named must be a result
    named = collect(paths[0], folder / "cut.parquet", "-o", tmp_path / "x.parquet", code=1)
    assert "cut.parquet is not a readable Parquet file" in named
    assert not (tmp_path / "x.parquet").exists()
    (tmp_path / "empty").mkdir()
    stderr = collect(tmp_path / "empty", "-o", tmp_path / "x.parquet", code=1)
    assert "no result of jadfer annotate found" in stderr
    stderr = collect(folder, "--no-recursive", "-o", tmp_path / "x.parquet", code=1)
    assert "1 video, 7 rows" in stderr


def test_a_result_cut_short_behind_its_footer_leaves_no_dataset(three, collect, tmp_path):
    folder, paths = three
    data = bytearray(paths[2].read_bytes())
    data[4:600] = bytes(596)  # the first pages; the footer is whole
    paths[2].write_bytes(data)
    stderr = collect(folder, "-o", tmp_path / "all.parquet", code=1)
    assert str(paths[2]) in stderr and "cannot be read" in stderr
    assert [p.name for p in tmp_path.iterdir()] == ["results"]
    stderr = collect(folder, "-o", tmp_path / "all", code=1)
    assert [p.name for p in tmp_path.iterdir()] == ["results"]


def test_different_models_are_refused_or_kept_apart(three, collect, tmp_path):
    folder, paths = three
    seven = tuple(label for label in LABELS if label != "contempt")
    paths.append(made(folder / "d.parquet", sha256="d", labels=seven, model_sha256="9" * 64))
    stderr = collect(folder, "-o", tmp_path / "all.parquet", code=1)
    assert "model differs: jadfer-compact 11111111 in 3 results; " in stderr
    assert (
        f"jadfer-compact 99999999 in {paths[3]}. " in stderr
        and "--mixed accepts them all." in stderr
    )
    stderr = collect(folder, "-o", tmp_path / "all.parquet", "--mixed")
    assert "Warning: model differs" in stderr
    rows = pd.read_parquet(tmp_path / "all.parquet")
    models = rows.groupby("video", observed=True)["model"].first()
    assert models["clips/d.mp4"] == "jadfer-compact 99999999" and models.nunique() == 2
    assert str(rows["model"].dtype) == str(rows["usable"].dtype).replace("boolean", "category")
    of_seven = rows[rows["video"] == "clips/d.mp4"]
    assert of_seven["p_contempt"].isna().all() and of_seven["p_fear"].notna().sum() == 5
    metadata = rows.attrs["jadfer"]
    assert metadata["labels"] == list(LABELS) and "sha256" not in metadata["model"]
    assert metadata["sources"][-1]["settings"]["model.sha256"][0] in "19"


def test_other_settings_are_reported_with_their_files(three, collect, tmp_path):
    folder, paths = three
    paths.append(made(folder / "e.parquet", sha256="e", options=options(fps=5.0)))
    paths.append(made(folder / "f.parquet", sha256="f", metadata={
        "precision": "bf16", "detector": {"name": "buffalo_sc", "sha256": "8" * 64},
    }))  # fmt: skip
    stderr = collect(folder, "-o", tmp_path / "all.parquet")
    assert f"--fps differs: none in 4 results; 5.0 in {paths[3]}." in stderr
    assert f"--precision differs: fp32 in 4 results; bf16 in {paths[4]}." in stderr
    assert (
        "detector differs: centerface (222222222222) in 4 results; buffalo_sc (888888888888) in "
        in stderr
    )
    assert stderr.endswith("5 videos, 36 rows; 3 warnings")
    metadata = pd.read_parquet(tmp_path / "all.parquet").attrs["jadfer"]
    assert "options.video.fps" in metadata["collected"]["differs"]
    assert [s["settings"]["options.video.fps"] for s in metadata["sources"]].count(5.0) == 1


@pytest.mark.parametrize("replaced", [{"schema_version": "0"}, {}])
def test_other_schemas_are_refused(three, collect, tmp_path, replaced):
    folder, _ = three
    more = made(folder / "g.parquet", sha256="9", metadata=replaced)
    if not replaced:  # a column that others lack
        table = pq.read_table(more)
        pq.write_table(table.append_column("mine", table["p_max"]), more)
    stderr = collect(folder, "-o", tmp_path / "all.parquet", code=1)
    what = "schema differs: 1 in 3 results; 0 in" if replaced else "columns differs: no others in 3"
    assert what in stderr and str(more) in stderr and "Annotate the videos of the fewer" in stderr


def test_a_later_step_that_only_some_results_had_is_named(three, collect, tmp_path, invoke):
    folder, _ = three
    more = made(tmp_path / "g.parquet", sha256="9")
    assert invoke("smooth", more, "-o", folder / "smooth.parquet").exit_code == 0
    stderr = collect(folder, "-o", tmp_path / "all.parquet", code=1)
    assert "columns differs" in stderr and "p_fear_smooth" in stderr
    assert "run on all of them" in stderr and "Annotate the videos" not in stderr


def test_no_video_counts_twice_and_names_stay_apart(collect, tmp_path):
    folder = tmp_path / "results"
    for day, sha256 in (("day1", "1"), ("day2", "2")):
        made(folder / day / "x.parquet", sha256=sha256, video="x.mp4")
    made(folder / "y.parquet", sha256="3", video="y.mov")
    stderr = collect(folder, "-o", tmp_path / "all.parquet")
    assert "2 results are of videos with the same name" in stderr
    rows = pd.read_parquet(tmp_path / "all.parquet")
    assert rows["video"].unique().tolist() == ["day1/x.mp4", "day2/x.mp4", "y.mov"]
    assert not rows.duplicated(["video", "frame", "track_id"]).any()

    stderr = collect(folder, "-o", tmp_path / "rel.parquet", "--relative")
    assert "same name" not in stderr
    rows = pd.read_parquet(tmp_path / "rel.parquet")
    assert rows["video"].unique().tolist() == ["day1/x.mp4", "day2/x.mp4", "y.mov"]

    made(folder / "odd.parquet", sha256="5", video="day1/x.mp4")
    stderr = collect(folder, "-o", tmp_path / "odd", code=1)
    assert "would both be called day1/x.mp4" in stderr


@pytest.mark.slow
def test_row_groups_are_joined_and_bounded(collect, tmp_path, monkeypatch):
    from jadfer_cli.analysis.dataset import write as datasets

    monkeypatch.setattr(datasets, "_ROWS_PER_GROUP", 20)
    for i in range(9):
        made(tmp_path / "in" / f"{i}.parquet", sha256=str(i), n_frames=5 + 5 * i)
    collect(tmp_path / "in", "-o", tmp_path / "all.parquet")
    file = pq.ParquetFile(tmp_path / "all.parquet")
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sum(sizes) == sum(6 + 5 * i for i in range(9)) and max(sizes) <= 20
    assert sizes[0] == 17  # 6 and 11 rows; 16 more would be too many
    assert file.read().to_pandas()["frame"].tolist() == [
        f for i in range(9) for f in sorted([*range(5 + 5 * i), 2])
    ]  # fmt: skip


def test_folders_beside_the_dataset_that_are_not_ours_stay(three, collect, tmp_path):
    kept = [tmp_path / name / "notes.txt" for name in ("all.old", "all.part")]
    for file in kept:
        file.parent.mkdir()
        file.write_text("a week of work")
    collect(three[0], "-o", tmp_path / "all")
    collect(three[0], "-o", tmp_path / "all", "--overwrite")
    assert all(file.read_text() == "a week of work" for file in kept)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all", "all.old", "all.part", "results"]


def test_a_dataset_that_a_killed_run_had_put_aside_comes_back(three, collect, tmp_path):
    out = tmp_path / "all"
    collect(three[0], "-o", out)
    aside = tmp_path / ".all.collecting"
    aside.mkdir()
    out.rename(aside / "old")
    assert "already exists" in collect(three[0], "-o", out, code=2)
    assert len(list(out.rglob("*.parquet"))) == 3
    assert not aside.exists()
