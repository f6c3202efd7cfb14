"""What coders wrote, from each program, as they export it."""

import pytest
from made import Made, Track
from pympi.Elan import Eaf

from jadfer_cli.analysis.agreement import files, vocabulary
from jadfer_cli.analysis.agreement.clips import ClipNames
from jadfer_cli.errors import CodesError, OptionError
from jadfer_cli.labels import LABELS
from jadfer_cli.results import load

TABULAR = """\
Observation id,Observation date,Observation duration,Media file name,Subject,Behavior,\
Behavioral category,Behavior type,Time
obs1,2026-01-01,10.0,clips/anna.mp4,No focal subject,smile,face,START,1.000
obs1,2026-01-01,10.0,clips/anna.mp4,No focal subject,blink,face,POINT,1.500
obs1,2026-01-01,10.0,clips/anna.mp4,No focal subject,smile,face,STOP,2.500
obs1,2026-01-01,10.0,clips/anna.mp4,track 1,frown,face,START,3.000
obs1,2026-01-01,10.0,clips/anna.mp4,track 1,frown,face,STOP,4.250
"""
# BORIS 7: facts about the observation above the names of the columns
OLD = (
    "Observation id\tobs1\n\nMedia file(s)\n\nPlayer #1\tclips/anna.mp4\n\n"
    "Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tBehavioral category\tComment"
    "\tStatus\n"
    "1.000\tclips/anna.mp4\t10\t25\t\tsmile\t\t\tSTART\n"
    "2.500\tclips/anna.mp4\t10\t25\t\tsmile\t\t\tSTOP\n"
)


def read(tmp_path, name, text, **how):
    (tmp_path / name).write_text(text, "utf-8")
    return files.read(tmp_path / name, **how)


def plain(found):
    return [(c.clip, c.coder, c.subject, c.start_s, c.end_s, c.label) for c in found.codes]


def elan(path, tiers, author="", video="anna.mp4", **media):
    """A file of ELAN: tiers by name, with annotator, participant, and (start, end, text) in ms."""
    document = Eaf(author=author)
    document.remove_tier("default")
    document.add_linked_file(f"file:///videos/{video}", f"./{video}", "video/mp4", **media)
    for name, (annotator, participant, spans) in tiers.items():
        document.add_tier(name, ann=annotator, part=participant)
        for span in spans:
            document.add_annotation(name, *span)
    document.to_file(str(path))
    return path


def test_a_media_offset_of_elan_is_counted(tmp_path):
    """ELAN shows the first 1.5 s of the video nowhere: its time 0 is 1.5 s of the video."""
    tiers = {"face": ("Mia", "", [(500, 1000, "smile")])}
    path = elan(tmp_path / "x.eaf", tiers, time_origin=1500)
    assert plain(files.read(path)) == [("./anna.mp4", "Mia", "", 2.0, 2.5, "smile")]


def test_boris_tabular_events(tmp_path):
    found = read(tmp_path, "boris.csv", TABULAR)
    assert plain(found) == [
        ("clips/anna.mp4", "coder", "", 1.0, 2.5, "smile"),
        ("clips/anna.mp4", "coder", "track 1", 3.0, 4.25, "frown"),
    ]
    assert "1 point events" in found.notes[0]
    old = read(tmp_path, "old.tsv", OLD)
    assert plain(old) == [("clips/anna.mp4", "coder", "", 1.0, 2.5, "smile")]


def test_boris_state_without_an_end(tmp_path):
    with pytest.raises(CodesError, match="line 2: smile has a START that fits no other row"):
        read(tmp_path, "boris.csv", "\n".join(TABULAR.splitlines()[:2]))


def test_what_jadfer_exports_for_boris_and_elan_is_read_again(tmp_path, invoke):
    result = tmp_path / "anna.parquet"
    shows = ["neutral"] * 10 + ["happiness"] * 10 + ["neutral"] * 5
    Made([Track(0, list(range(25)), shows)], n_frames=25).write(result)
    for name, how in (("e.eaf", ()), ("b.csv", ("--format", "boris")), ("s.csv", ())):
        out = tmp_path / name
        assert invoke("events", result, "-o", out, *how).exit_code == 0
        (code,) = files.read(out).codes
        assert (code.start_s, code.end_s, code.label) == (0.4, 0.8, "happiness"), name
        assert code.subject in ("track 0", "0"), name
        assert ClipNames([load.load(result)]).find(code.clip) == 0, name


def test_elan_tiers_annotators_and_participants(tmp_path):
    path = elan(
        tmp_path / "x.eaf",
        {
            "faces": ("Anna", "track 0", [(0, 1500, "happy"), (2000, 2500, "sad")]),
            "smile": ("Ben", "", [(100, 200, "")]),
            "empty": ("Carla", "", []),
        },
        author="Dora",
    )
    found = files.read(path)
    assert plain(found) == [
        ("./anna.mp4", "Anna", "track 0", 0.0, 1.5, "happy"),
        ("./anna.mp4", "Anna", "track 0", 2.0, 2.5, "sad"),
        ("./anna.mp4", "Ben", "", 0.1, 0.2, "smile"),  # no text: the tier is the label
    ]
    assert found.coders == ("Anna", "Ben", "Carla")  # an empty tier is coded, too
    chosen = files.read(path, tiers=["fac*"])
    assert chosen.coders == ("Anna",)
    assert files.read(path, coder_from="tier").coders == ("empty", "faces", "smile")
    with pytest.raises(CodesError, match="holds no codes") as caught:
        files.read(path, tiers=["Faces"])
    assert "case-sensitive" in caught.value.hint


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_spans_with_any_separator_and_clock_times(tmp_path, separator):
    text = "video,Rater,onset,offset,emotion\na.mp4,Zoë,1.5,0:02.5,joy\n".replace(",", separator)
    if separator == ";":
        text = text.replace("1.5", "1,5")
    found = read(tmp_path, "spans.csv", text)
    assert plain(found) == [("a.mp4", "Zoë", "", 1.5, 2.5, "joy")]
    excel = tmp_path / "excel.txt"
    excel.write_bytes(text.encode("utf-16"))
    assert plain(files.read(excel)) == plain(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has the columns a, b"),
        ("start,end,label\n1,x,joy\n", "line 2: end is 'x', which is not a time"),
        ("start,end,label\n3,1,joy\n", "line 2: a code from 3 to 1 s is not a span"),
        ("start,end,label\n", "holds no codes"),
    ],
)
def test_wrong_tables_name_the_line(tmp_path, text, message):
    with pytest.raises(CodesError, match=message):
        read(tmp_path, "x.csv", text)


def test_wrong_files(tmp_path):
    (tmp_path / "x.eaf").write_text("<nothing/>")
    (tmp_path / "x.pdf").write_text("x")
    for name, message in (
        ("x.eaf", "cannot be read as an ELAN file"), ("x.pdf", "is not a file of codes"),
        ("no.csv", "There is no file or folder"),
    ):  # fmt: skip
        with pytest.raises(CodesError, match=message):
            files.read(tmp_path / name)
    with pytest.raises(OptionError, match="`coder_from` must be one of"):
        files.read(tmp_path / "x.eaf", coder_from="moon")


def test_two_files_of_one_clip_need_names_of_coders(tmp_path):
    text = "clip,start,end,label\na,0,1,joy\n"
    for coder in ("anna", "ben"):
        (tmp_path / coder).mkdir()
        (tmp_path / coder / "a.csv").write_text(text)
    with pytest.raises(CodesError, match="both code a by coder") as caught:
        files.read(tmp_path)
    assert "`coder_from` folder" in caught.value.hint
    assert files.read(tmp_path, coder_from="folder").coders == ("anna", "ben")


def test_names_of_clips(tmp_path):
    paths = [tmp_path / name for name in ("day1/anna.parquet", "day2/anna.parquet", "b.c.parquet")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        Made(n_frames=1, video=f"/films/{path.parent.name}/{path.stem}.mp4").write(path)
    names = ClipNames([load.load(path) for path in paths])
    assert names.find("C:\\x\\day2\\ANNA.MOV") == 1
    assert names.find("b.c.mp4") == 2 and names.find("nobody") is None
    with pytest.raises(CodesError, match="may be"):
        names.find("anna.mp4")
    with pytest.raises(CodesError, match="which of 3 clips"):
        names.find("")


def test_vocabulary():
    given = {"smile": "happiness", "Negative": "anger+disgust", "away": "-"}
    found = vocabulary.build(["SMILE", "negative", "away", "fearful"], LABELS, given)
    assert found.classes[:5] == ("neutral", "happiness", "surprise", "sadness", "negative")
    assert found.of_word == {"smile": 1, "negative": 4, "away": None, "fearful": 5}
    p = found.grouped(__import__("numpy").arange(8.0)[None])
    assert p.tolist() == [[0, 1, 2, 3, 4 + 5, 6, 7]]
    with pytest.raises(CodesError, match="The codes grin are none"):
        vocabulary.build(["grin"], LABELS, {})
    with pytest.raises(OptionError, match="uses anger both alone and in a group"):
        vocabulary.build(["negative", "anger"], LABELS, {"negative": "anger+fear"})
    with pytest.raises(OptionError, match="bliss is not an expression"):
        vocabulary.build(["x"], LABELS, {"x": "bliss"})


def test_map_from_a_table(tmp_path):
    (tmp_path / "map.csv").write_text("code;expression\nsmile;happiness\naway;-\n")
    assert vocabulary.read_map([str(tmp_path / "map.csv"), "a=b=fear"]) == {
        "smile": "happiness", "away": "-", "a=b": "fear",
    }  # fmt: skip
    with pytest.raises(OptionError, match="neither CODE=EXPRESSION nor a file"):
        vocabulary.read_map(["smile"])
