"""Every format, read back by a reader of its own, holds what the Parquet file holds."""

import dataclasses
import importlib.util
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from made import Made, Track, options

from jadfer_cli.analysis import tabular
from jadfer_cli.analysis.convert import Conversion
from jadfer_cli.analysis.formats.base import Meaning, TextStyle
from jadfer_cli.errors import OptionError, OutputError
from jadfer_cli.labels import LABELS
from jadfer_cli.records import UNUSABLE_REASONS
from jadfer_cli.results.columns import column_descriptions
from jadfer_cli.results.load import load

PACKAGES = {".xlsx": "openpyxl", ".sav": "pyreadstat", ".dta": "pyreadstat"}
HOSTILE = '=HYPERLINK("x")/ä\n,;\t\'#N/A 2024-01-05.mp4'


def needs(ending):
    name = PACKAGES.get(ending)
    missing = name and importlib.util.find_spec(name) is None
    return pytest.mark.skipif(bool(missing), reason=f"needs {name}, of the extra [office]")


ENDINGS = [pytest.param(ending, marks=needs(ending)) for ending in tabular.FORMATS]


def undone(text):
    """The text of a cell without the apostrophe that keeps it from being a formula."""
    return text[1:] if isinstance(text, str) and text.startswith(("'=", "'+", "'-", "'@")) else text


def read(path, ending, style=TextStyle()):  # noqa: B008
    """The table as its own reader gives it, with codes as texts and all values as objects."""
    if ending in (".csv", ".csv.gz", ".tsv", ".tsv.gz"):
        tabs = ending.startswith(".tsv")
        found = pd.read_csv(
            path, sep="\t" if tabs else style.separator, decimal=style.decimal,
            keep_default_na=False, na_values=["n/a" if tabs else ""], encoding="utf-8-sig",
        )  # fmt: skip
        return found.map(undone)
    if ending == ".xlsx":
        import openpyxl

        head, *rows = openpyxl.load_workbook(path).active.iter_rows(values_only=True)
        return pd.DataFrame(rows, columns=head)
    import pyreadstat

    reader = pyreadstat.read_sav if ending == ".sav" else pyreadstat.read_dta
    table, meta = reader(path, apply_value_formats=True)
    for name in set(meta.variable_value_labels) & {"face_detected", "usable"}:
        table[name] = table[name].astype(object).map({"true": True, "false": False})
    return table


def check_equal(found, expected, ending):
    """Each value of each row is that of the Parquet file, and missing where that is missing."""
    assert len(found) == len(expected) and len(found.columns) == len(expected.columns)
    for i, name in enumerate(expected.columns):
        want, have = expected.iloc[:, i], found.iloc[:, i]
        gone = want.isna().to_numpy()
        if isinstance(want.dtype, pd.CategoricalDtype) or want.dtype == object:
            texts = have.astype(object).where(have.notna(), "")
            wanted = want.astype(object).where(~gone, "")
            if ending.startswith(".tsv"):
                wanted = wanted.str.replace("\n", r"\n").str.replace("\t", r"\t")
            assert texts.tolist() == wanted.tolist(), name
            continue
        assert have.isna().to_numpy().tolist() == gone.tolist(), name
        values = have[~gone].tolist()
        assert not any(isinstance(value, str) for value in values), name  # no number is a text
        if want.dtype.kind == "b" or str(want.dtype) == "boolean":
            assert [bool(v) for v in values] == want[~gone].tolist(), name
            continue
        kind = np.dtype(str(want.dtype).lower())
        assert np.array(values, kind).tolist() == want[~gone].tolist(), name


def made(folder, **changes):
    probabilities = np.random.default_rng(1).dirichlet(np.ones(len(LABELS)), 7).astype(np.float32)
    tracks = [
        Track(0, list(range(2, 9)), probabilities, box_px=(0.1, 1e-7, 1e6, 123456.789)),
        Track(2_000_000_000, [3, 4], "anger", usable=[True, False]),
    ]
    settings = {"n_frames": 12, "video": HOSTILE, "status": {3: 1, 5: 2}} | changes
    return Made(tracks=tracks, **settings).write(folder / "clip.parquet")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_converted_result_equals_the_parquet_row_by_row(ending, tmp_path):
    result = made(tmp_path, times_s=np.arange(12) / 29.97)
    out = tmp_path / "other" / f"clip{ending}"
    assert Conversion(result, out).run() == 14
    check_equal(read(out, ending), load(result).rows(), ending)
    sidecar = json.loads((tmp_path / "other" / "clip.json").read_text("utf-8"))
    assert sidecar == json.loads((tmp_path / "clip.json").read_text("utf-8"))


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_decimal_comma_and_a_byte_order_mark(ending, tmp_path):
    style = TextStyle(bom=True, decimal=",")
    result, out = made(tmp_path), tmp_path / f"c{ending}"
    Conversion(result, out, style=style).run()
    data = out.read_bytes()
    assert data.startswith(b"\xef\xbb\xbfvideo") and b"0,04" in data and b"0.04" not in data
    check_equal(read(out, ending, style), load(result).rows(), ending)
    with pytest.raises(OptionError, match="`decimal` must be a point or a comma, not x"):
        TextStyle(decimal="x")


@needs(".sav")
def test_variables_and_values_have_labels(tmp_path):
    import pyreadstat

    result = made(tmp_path)
    for ending, reader in ((".sav", pyreadstat.read_sav), (".dta", pyreadstat.read_dta)):
        out = tmp_path / f"clip{ending}"
        Conversion(result, out).run()
        table, meta = reader(out)
        named = dict(zip(meta.column_names, meta.column_labels, strict=True))
        described = column_descriptions(LABELS)
        assert named["p_max"] == described["p_max"]["Description"]
        assert named["time_s"].startswith("Presentation time") and named["time_s"].endswith(", s")
        assert named["frame_status"].startswith("ok; corrupt")  # longer than Stata's 80 bytes
        codes = meta.variable_value_labels
        assert codes["expression"] == dict(enumerate(LABELS))
        assert codes["usable"] == {0: "false", 1: "true"}
        assert codes["unusable_reason"] == dict(enumerate(UNUSABLE_REASONS))
        assert table["unusable_reason"].dropna().tolist() == [UNUSABLE_REASONS.index("blurred")]
        assert table["usable"].dropna().isin([0, 1]).all() and table["usable"].isna().sum() == 5
    assert pd.read_stata(out)["expression"].dropna().iloc[-1] in LABELS  # by pandas' own reader


@needs(".xlsx")
def test_no_cell_of_a_workbook_is_a_formula_and_each_has_its_type(tmp_path):
    import openpyxl

    result, out = made(tmp_path), tmp_path / "clip.xlsx"
    Conversion(result, out).run()
    sheet = openpyxl.load_workbook(out).active
    kinds = {c.data_type for row in sheet.iter_rows(min_row=2) for c in row if c.value is not None}
    assert kinds == {"s", "n", "b"}
    first = sheet["A2"]
    assert first.value == HOSTILE and first.data_type == "s" and first.quotePrefix


VALUES = {
    "text": st.text(st.characters(exclude_categories=("Cs", "Cc"))),
    "whole": st.integers(-(2**53), 2**53),
    "Null able": st.none() | st.integers(-(2**31), 2**31 - 1),
    "real": st.none() | st.floats(-1e300, 1e300),
    "single": st.none() | st.floats(-(2**99), 2**99, width=32),
    "flag": st.none() | st.booleans(),
}
TABLES = st.fixed_dictionaries(
    {name: st.lists(value, min_size=3, max_size=3) for name, value in VALUES.items()}
)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
@settings(
    max_examples=12, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(values=TABLES)
def test_any_table_reads_back(ending, values, tmp_path_factory):
    kinds = {"whole": "int64", "Null able": "Int32", "real": "float64", "single": "float32",
             "flag": "boolean", "text": "object"}  # fmt: skip
    table = pd.DataFrame({n: pd.Series(v, dtype=kinds[n]) for n, v in values.items()})
    out = tmp_path_factory.mktemp("any") / f"t{ending}"
    tabular.write_table(table, out)
    found = read(out, ending)
    if ending in (".sav", ".dta"):
        assert found.columns.tolist() == [name.replace(" ", "_") for name in values]
        flags = found["flag"].astype(object).map({"true": True, "false": False})
        found["flag"] = flags
    expected = table.copy()
    if ending == ".sav":  # SPSS pads texts with spaces
        expected["text"] = expected["text"].str.rstrip(" ")
        found["text"] = found["text"].astype(object).str.rstrip(" ")
    if ending in (".csv", ".csv.gz", ".tsv", ".tsv.gz"):
        found["text"] = pd.read_csv(
            out, sep="\t" if ".tsv" in ending else ",", dtype=str, keep_default_na=False
        )["text"].map(undone)
    check_equal(found, expected, ending)


@pytest.mark.parametrize("ending", [p for p in ENDINGS if p.values[0] in (".sav", ".dta")])
def test_the_lowest_whole_number_reads_back(ending, tmp_path):
    table = pd.DataFrame({"n": pd.Series([-(2**31), 2**31 - 1], dtype="Int32")})
    tabular.write_table(table, tmp_path / f"t{ending}")
    assert read(tmp_path / f"t{ending}", ending)["n"].tolist() == [-(2**31), 2**31 - 1]


@pytest.mark.parametrize("ending", [p for p in ENDINGS if p.values[0] in PACKAGES])
def test_what_a_format_cannot_hold_is_refused(ending, tmp_path):
    for values, words in (([2**53 + 1], "above 2\\^53"), ([float("inf")], "infinite")):
        with pytest.raises(OutputError, match=words) as caught:
            tabular.write_table(pd.DataFrame({"n": values}), tmp_path / f"t{ending}")
        assert ".csv" in caught.value.hint and not list(tmp_path.iterdir())


def fewer_rows(monkeypatch, ending, most):
    """Lower the number of rows that files with this ending hold."""
    found = dataclasses.replace(tabular.FORMATS[ending], max_rows=most)
    monkeypatch.setitem(tabular.FORMATS, ending, found)


def test_the_limits_are_those_of_the_programs():
    limits = {ending: each.max_rows for ending, each in tabular.FORMATS.items() if each.max_rows}
    assert limits == {".xlsx": 2**20 - 1, ".sav": 2**31 - 1, ".dta": 2**31 - 1}


@pytest.mark.parametrize("ending", [p for p in ENDINGS if p.values[0] in PACKAGES])
def test_too_many_rows_are_refused_before_anything_is_written(
    ending, tmp_path, invoke, monkeypatch
):
    (tmp_path / "r").mkdir()
    for name in "ab":
        tracks = [Track(0, list(range(7)))]
        Made(tracks, n_frames=7, video=f"{name}.mp4", sha256=name * 64).write(
            tmp_path / "r" / f"{name}.parquet"
        )
    short = Made([Track(0, [0])], n_frames=2, video="c.mp4", sha256="c" * 64)
    short.write(tmp_path / "r/c.parquet")
    before = sorted(tmp_path.rglob("*"))
    fewer_rows(monkeypatch, ending, 13)  # each of the two has 7 rows
    out = tmp_path / f"all{ending}"
    shown = invoke("collect", tmp_path / "r", "-o", out, width=400)
    assert shown.exit_code == 1 and "has 16 rows" in shown.stderr, shown.stderr
    assert "holds 13 at most" in shown.stderr and "Write .csv" in shown.stderr
    assert sorted(tmp_path.rglob("*")) == before  # not even all.parquet
    fewer_rows(monkeypatch, ending, 6)  # c would fit, and comes first or last
    folder = tmp_path / "out/"
    shown = invoke("convert", tmp_path / "r", "-o", folder, "--format", ending[1:], width=400)
    assert shown.exit_code == 1 and f"{tmp_path}/r/a.parquet has 7 rows" in shown.stderr
    shown = invoke("convert", tmp_path / "r/a.parquet", "-o", out, width=400)
    assert shown.exit_code == 1 and "has 7 rows" in shown.stderr
    assert sorted(tmp_path.rglob("*")) == before
    fewer_rows(monkeypatch, ending, 16)
    assert invoke("collect", tmp_path / "r", "-o", out).exit_code == 0
    assert len(read(out, ending)) == 16


@needs(".xlsx")
def test_a_table_of_unknown_length_is_refused_where_the_sheet_ends(tmp_path, monkeypatch):
    from jadfer_cli.analysis.formats import excel

    monkeypatch.setattr(excel, "MAX_ROWS", 5)
    pieces = [pd.DataFrame({"a": range(2)})] * 2
    style, meaning = TextStyle(), Meaning()
    tabular.write_pieces(pieces, tmp_path / "fits.xlsx", style, meaning)
    with pytest.raises(OutputError, match="more than 4 rows"):
        tabular.write_pieces([*pieces, *pieces], tmp_path / "t.xlsx", style, meaning)
    assert [path.name for path in tmp_path.iterdir()] == ["fits.xlsx"]


@pytest.mark.parametrize("ending", [p for p in ENDINGS if p.values[0] in (".xlsx", ".dta")])
def test_too_many_columns_are_refused(ending, tmp_path):
    most = {".xlsx": 16_384, ".dta": 32_767}[ending]
    table = pd.DataFrame(np.zeros((1, most + 1)), columns=[f"c{i}" for i in range(most + 1)])
    with pytest.raises(OutputError, match=f"{most + 1:,} columns") as caught:
        tabular.write_table(table, tmp_path / f"t{ending}")
    assert ".csv" in caught.value.hint and not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path, monkeypatch, invoke
):
    result = made(tmp_path)
    for ending, package in PACKAGES.items():
        monkeypatch.setitem(__import__("sys").modules, package, None)
        shown = invoke("convert", result, "-o", tmp_path / f"x{ending}", width=300)
        assert shown.exit_code == 1 and f"need the package {package}" in shown.stderr
        assert "pip install 'jadfer-cli[office]'" in shown.stderr


@needs(".sav")
def test_names_that_a_program_keeps_for_itself(tmp_path):
    import pyreadstat

    names = ["by", "p_on-screen", "P_on screen", "1st", "x" * 70, "x" * 71]
    table = pd.DataFrame([[1.0] * len(names)], columns=names)
    for ending, reader in ((".sav", pyreadstat.read_sav), (".dta", pyreadstat.read_dta)):
        out = tmp_path / f"t{ending}"
        tabular.write_table(table, out, meaning=Meaning({"1st": "the first"}))
        _, meta = reader(out)
        found = dict(zip(meta.column_labels, meta.column_names, strict=True))
        assert found["1st: the first"] == "v_1st" and found["p_on-screen"] == "p_on_screen"
        assert found["P_on screen"] == "P_on_screen_2"
        assert len({name.lower() for name in meta.column_names}) == len(names)


def test_convert_mirrors_folders_and_keeps_existing_files(tmp_path, invoke):
    for name in ("a", "day1/b"):
        (tmp_path / "r" / name).parent.mkdir(parents=True, exist_ok=True)
        Made(tracks=[Track(0, [1])], options=options()).write(tmp_path / "r" / f"{name}.parquet")
    command = ("convert", tmp_path / "r", "-r", "-o", tmp_path / "out/", "--format", "csv.gz")
    assert invoke(*command).exit_code == 0
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert files == {"a.csv.gz", "a.json", "day1/b.csv.gz", "day1/b.json"}
    again = invoke(*command, width=300)
    assert again.exit_code == 2 and "a.csv.gz already exists" in again.stderr
    assert invoke(*command, "--overwrite").exit_code == 0
    # another format beside it shares the sidecar
    assert invoke(*command[:-1], "tsv").exit_code == 0
    for rest, words in (
        (("-o", tmp_path / "x/"), "Add --format and one of csv"),
        (("-o", tmp_path / "x.csv"), "there may be several results"),
        (("-o", tmp_path / "x/", "--format", "doc"), "--format must be one of csv"),
        (
            ("-o", tmp_path / "x/", "--format", "csv", "--columns", "fer"),
            "--columns must be jadfer",
        ),
        (("-o", tmp_path / "x/", "--format", "csv", "--decimal", ";"), "--decimal must be a point"),
    ):
        refused = invoke("convert", tmp_path / "r", *rest, width=300)
        assert refused.exit_code == 2 and words in refused.stderr, refused.stderr


def test_a_dataset_is_converted_as_a_whole(tmp_path, invoke):
    (tmp_path / "r").mkdir()
    for name in ("a", "b"):
        Made(tracks=[Track(0, [1])], video=f"{name}.mp4", sha256=name * 64).write(
            tmp_path / "r" / f"{name}.parquet"
        )
    assert invoke("collect", tmp_path / "r", "-o", tmp_path / "all.parquet").exit_code == 0
    shown = invoke("convert", tmp_path / "all.parquet", "-o", tmp_path / "all.csv")
    assert shown.exit_code == 0, shown.stderr
    found = pd.read_csv(tmp_path / "all.csv")
    check_equal(found, pd.read_parquet(tmp_path / "all.parquet"), ".csv")
    assert (tmp_path / "all.json").exists()


def test_columns_of_other_tools_have_their_names_units_and_signs(tmp_path, invoke):
    result = Made(
        tracks=[Track(0, [1], "happiness", box_px=(10, 20, 40, 60))], n_frames=2
    ).write(tmp_path / "clip.parquet")  # fmt: skip
    table = pd.read_parquet(result)
    table.loc[1, ["yaw_deg", "pitch_deg", "roll_deg"]] = [30.0, 20.0, 10.0]
    table.to_parquet(result)  # keeps the metadata, which are in .attrs
    for tool, out in (("pyfeat", "p.csv"), ("openface", "o.csv")):
        shown = invoke("convert", result, "-o", tmp_path / out, "--columns", tool, width=300)
        assert shown.exit_code == 0 and "jadfer does not measure them" in shown.stderr
    row = pd.read_csv(tmp_path / "p.csv").iloc[1]
    assert row[["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"]].tolist() == [
        10, 20, 30, 40]  # fmt: skip
    # py-feat: degrees, yaw positive towards the image's left; ours towards the right
    assert row[["Pitch", "Roll", "Yaw"]].tolist() == [20, 10, -30]
    assert row["happiness"] == pytest.approx(0.9) and "contempt" not in row
    rows = pd.read_csv(tmp_path / "o.csv")
    # OpenFace: radians; looking up and turning to the image's right are negative
    assert rows.loc[1, ["pose_Rx", "pose_Ry", "pose_Rz"]].tolist() == pytest.approx(
        np.radians([-20, -30, 10]).tolist()
    )
    assert rows["frame"].tolist() == [1, 2] and rows["success"].tolist() == [0, 1]
    assert json.loads((tmp_path / "o.openface.json").read_text("utf-8"))["pose_Rx"]


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_truth_is_written_as_r_reads_it(tmp_path, ending):
    """R takes True for a text: subset(rows, usable) would be an error."""
    table = pd.DataFrame({
        "plain": [True, False, True], "missing": pd.array([True, pd.NA, False], "boolean"),
        "mixed": pd.Series([True, None, np.False_], dtype=object), "text": ["a", "True", "b"],
    })  # fmt: skip
    path = tmp_path / f"t{ending}"
    tabular.FORMATS[ending].write([table], path, TextStyle(), Meaning())
    text = path.read_text("utf-8").replace("\t", ",").replace("n/a", "").splitlines()
    assert text[1:] == ["TRUE,TRUE,TRUE,a", "FALSE,,,True", "TRUE,FALSE,FALSE,b"]
