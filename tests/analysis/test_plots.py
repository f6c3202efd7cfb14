"""Plots: the numbers behind them, and the files."""

import itertools
import re
import struct

import numpy as np
import pytest
from made import Made, Track, sure
from typer.testing import CliRunner

from jadfer_cli.analysis.plots import thinning as curves
from jadfer_cli.analysis.plots import timelines
from jadfer_cli.analysis.plots.bands import OTHERS_NAME
from jadfer_cli.analysis.plots.colours import ABSENT, COLOURS, OTHERS, colours_of
from jadfer_cli.cli.app import app
from jadfer_cli.labels import LABELS
from jadfer_cli.results.load import load


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def wandering(n, seed=0):
    z = np.cumsum(np.random.default_rng(seed).normal(0, 0.3, (n, 8)), 0)
    p = np.exp(z - z.max(1, keepdims=True))
    return (p / p.sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture
def uneven(tmp_path):
    """12 frames at uneven times; track 3 in frames 2-4 and 7-11, unusable in 4, 7 and 8."""
    times = np.array([0, 0.04, 0.1, 0.14, 0.3, 0.34, 0.4, 0.5, 0.54, 0.6, 0.7, 0.72])
    frames = [2, 3, 4, 7, 8, 9, 10, 11]
    track = Track(3, frames, wandering(8), usable=[f not in (4, 7, 8) for f in frames])
    return load(Made([track], n_frames=12, times_s=times).write(tmp_path / "uneven.parquet"))


def test_spans_and_steps_follow_the_true_times(uneven):
    chart = timelines.chart(uneven)
    (track,) = chart.tracks
    # the last frame lasts as long as the median of the gaps, 0.06 s
    assert chart.end_s == pytest.approx(0.78)
    assert track.absent_s.ravel().tolist() == pytest.approx([0, 0.1, 0.34, 0.5])
    assert track.unusable_s.ravel().tolist() == pytest.approx([0.3, 0.34, 0.5, 0.6])
    assert track.seen_s == pytest.approx(0.24 + 0.28)
    assert track.usable_share == pytest.approx((0.2 + 0.18) / 0.52)
    drawn = curves.curve(track, None, stacked=False)
    assert drawn.x_s.tolist() == pytest.approx(
        [0.1, 0.14, 0.3, 0.34, 0.34, 0.5, 0.54, 0.6, 0.7, 0.72, 0.78, 0.78]
    )
    assert np.flatnonzero(np.isnan(drawn.y[:, 0])).tolist() == [4, 11]  # no line across gaps
    assert drawn.frame.tolist() == [2, 3, 4, -1, -1, 7, 8, 9, 10, 11, -1, -1]
    assert chart.subtitle == (
        "jadfer-compact · faces in 8 of 12 frames (67%) · 1 track · 62% of faces usable"
    )


def test_smoothing_equals_a_naive_mean(uneven):
    (track,) = timelines.chart(uneven).tracks
    (smooth,) = timelines.chart(uneven, smooth_s=0.2).tracks
    middle, span = (track.start_s + track.end_s) / 2, track.end_s - track.start_s
    run_of = [0, 0, 0, 1, 1, 1, 1, 1]
    for i in range(8):
        near = [
            j for j in range(8)
            if run_of[i] == run_of[j] and track.usable[i] == track.usable[j]
            and abs(middle[i] - middle[j]) <= 0.1 + 1e-9
        ]  # fmt: skip
        mean = sum(span[j] * track.probabilities[j] for j in near) / sum(span[j] for j in near)
        np.testing.assert_allclose(smooth.probabilities[i], mean)


@pytest.mark.slow
def test_thinning_keeps_extremes_and_sums(tmp_path):
    n = 6000
    frames = [i for i in range(n) if not 2000 <= i < 2500]
    made = Made([Track(0, frames, wandering(len(frames)))], n_frames=n)
    (track,) = timelines.chart(load(made.write(tmp_path / "long.parquet"))).tracks
    bin_s = curves.bin_width_s([track], 100)
    assert bin_s == pytest.approx(len(frames) * 0.04 / 100)
    lines = curves.curve(track, bin_s, stacked=False)
    assert len(lines.x_s) < 0.5 * len(frames)
    kept = dict(zip(lines.frame.tolist(), lines.y, strict=True))
    for run in track.runs:
        bins = np.floor((track.start_s[run] - track.start_s[run][0]) / bin_s)
        for number in np.unique(bins):
            here = np.flatnonzero(bins == number) + run.start
            p = track.probabilities[here]
            inside = set(track.frame[here].tolist())
            drawn = [f for f in kept if f in inside]
            values = np.array([kept[f] for f in drawn])
            np.testing.assert_array_equal(values.max(0), p.max(0))
            np.testing.assert_array_equal(values.min(0), p.min(0))
            assert {track.frame[here[0]], track.frame[here[-1]]} <= set(drawn)
    stack = curves.curve(track, bin_s, stacked=True)
    solid = ~np.isnan(stack.y[:, 0])
    np.testing.assert_allclose(stack.y[solid].sum(1), 1, atol=1e-5)
    first = track.start_s < bin_s - 1e-9
    np.testing.assert_allclose(stack.y[0], track.probabilities[first].mean(0), atol=1e-5)
    assert curves.bin_width_s([track], n) is None
    assert curves.bin_width_s([track], 100, n) is None


def test_nearby_spans_are_joined():
    spans = np.array([[0.0, 1.0], [1.05, 2.0], [3.0, 4.0]])
    assert curves.joined_spans(spans, 0.1).tolist() == [[0, 2], [3, 4]]
    assert curves.joined_spans(spans[:0], 0.1).shape == (0, 2)


def test_only_the_longest_of_many_tracks_are_drawn(tmp_path):
    tracks = [Track(i, list(range(0, 5 + i))) for i in range(45)]
    chart = timelines.chart(load(Made(tracks, n_frames=60).write(tmp_path / "a.parquet")))
    assert [t.track_id for t in chart.tracks] == list(range(5, 45)) and chart.n_tracks == 45
    assert chart.notes == ("40 of 45 tracks, those seen longest.",)


# Machado et al. 2009, full protanopia, deuteranopia, tritanopia
CVD = (
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
)


def test_colour_blind_people_can_distinguish_the_colours():
    from skimage.color import rgb2lab

    assert tuple(COLOURS) == LABELS
    drawn = [*COLOURS.values(), OTHERS, ABSENT]
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in drawn])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for matrix in CVD:
        seen = np.clip(linear @ np.array(matrix).T, 0, 1)
        seen = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
        lab = rgb2lab(seen[None])[0]
        for a, b in itertools.combinations(lab, 2):
            assert np.linalg.norm(a - b) > 14
    further = colours_of(["calm", "happiness", "awe"])
    assert further["happiness"] == COLOURS["happiness"] and len(set(further.values())) == 3
    assert not set(COLOURS.values()) & {further["calm"], further["awe"]}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stacked", "lines"])
def test_figures_for_papers(tmp_path, kind, uneven):
    for ending in ("png", "svg", "pdf"):
        out = tmp_path / f"p.{ending}"
        found = run("plot", uneven.path, "-o", out, "--kind", kind, "--smooth", "0.1")
        assert found.exit_code == 0, found.stderr
        data = out.read_bytes()
        if ending == "png":
            width, height = struct.unpack(">II", data[16:24])
            assert data.startswith(b"\x89PNG") and width == 1440 and 400 < height < 700
        elif ending == "svg":
            assert b"</svg>" in data[-20:]
        else:
            assert data.startswith(b"%PDF") and b"%%EOF" in data[-10:]
    assert not list(tmp_path.glob("*.part"))
    again = tmp_path / "again.svg"
    run("plot", uneven.path, "-o", again, "--kind", kind, "--smooth", "0.1")
    assert again.read_bytes() == (tmp_path / "p.svg").read_bytes()


@pytest.mark.slow
def test_plots_without_a_face_and_with_many_tracks(tmp_path):
    odd = "$x_1$ <b>顔"
    none = Made([], n_frames=5, video=f"clips/{odd}.mp4").write(tmp_path / f"{odd}.parquet")
    tracks = [Track(i, list(range(i, 30)), wandering(30 - i, i)) for i in range(12)]
    many = Made(tracks, n_frames=30).write(tmp_path / "many.parquet")
    found = run("plot", none, many, "-o", tmp_path / "figures", "-q")
    assert found.exit_code == 0 and not found.output, found.output
    heights = [
        struct.unpack(">I", (tmp_path / "figures" / f"{name}.png").read_bytes()[20:24])[0]
        for name in (odd, "many")
    ]
    assert heights[0] < 700 and heights[1] > 2000
    page = tmp_path / "all.html"
    found = run("plot", none, many, "-o", page)
    assert found.exit_code == 0 and "2 figures" in found.stderr
    text = page.read_text()
    assert "no face was found" in text and "$x_1$ &lt;b&gt;顔" in text and "<b>顔" not in text
    assert text.count('class="plotly-graph-div"') == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stacked", "lines"])
def test_a_page_needs_no_network_and_shows_frames(tmp_path, uneven, kind):
    out = tmp_path / "page.html"
    assert run("plot", uneven.path, "-o", out, "--kind", kind).exit_code == 0
    text = out.read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)\s*=\s*["']?http""", text)
    assert "sendData" not in text.rsplit("</script>", 2)[1] and '"displaylogo": false' in text
    assert "frame %{customdata[0]:.0f}" in text and "0:00.14" in text


@pytest.mark.slow
def test_an_hour_is_drawn_in_seconds(tmp_path):
    import time

    from jadfer_cli.analysis.plots import figure as plots
    from jadfer_cli.analysis.plots import page as pages

    n = 90_000
    start = np.arange(n) / 25
    track = timelines.Timeline(
        0, np.arange(n), start, start + 0.04, wandering(n).astype(float), np.arange(n) % 500 > 50,
        (slice(0, n),), np.empty((0, 2)), np.empty((0, 2)),
    )  # fmt: skip
    chart = timelines.Chart("a", "b", LABELS, (track,), 1, 0.0, 3600.0)
    begun = time.monotonic()
    plots.write(chart, tmp_path / "a.pdf", stacked=False)
    pages.write([chart], tmp_path / "a.html", stacked=False)
    assert time.monotonic() - begun < 30
    assert (tmp_path / "a.pdf").stat().st_size < 2e6
    assert (tmp_path / "a.html").stat().st_size < 12e6
    assert "lowest and highest values of each 2.4 s" in (tmp_path / "a.html").read_text()


def test_a_folder_of_plots_mirrors_the_results(tmp_path):
    results = tmp_path / "results"
    for name in ("a", "day1/a"):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        Made([Track(0, [0, 1])], n_frames=3).write(results / f"{name}.parquet")
    found = run("plot", results, "-r", "-o", tmp_path / "f", "--format", "svg")
    assert found.exit_code == 0, found.stderr
    assert sorted(p.relative_to(tmp_path / "f").as_posix() for p in tmp_path.rglob("*.svg")) == [
        "a.svg", "day1/a.svg",
    ]  # fmt: skip
    both = [results / "a.parquet", results / "day1" / "a.parquet"]
    found = run("plot", *both, "-o", tmp_path / "g")
    assert found.exit_code == 2 and "would both be drawn into" in found.stderr
    found = run("plot", *both, "-o", tmp_path / "g.png")
    assert found.exit_code == 2 and "an .html file for one page with all" in found.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-o", "x.gif"], "Known are .png"),
        (["-o", "x.png", "--smooth", "0"], "--smooth must be"),
        (
            ["-o", "x.png", "--track", "9"],
            "a.parquet has no track 9. Hint:  Found: 0, e.g. --track 0.",
        ),
        (["-o", "x.png", "--expression", "smile"], "--expression smile: "),
        (["-o", "existing.png"], "already exists. Hint:  Add --overwrite"),
    ],
)
def test_errors(tmp_path, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    path = Made([Track(0, [0, 1], sure("happiness")[None].repeat(2, 0))], n_frames=3).write(
        tmp_path / "a.parquet"
    )
    (tmp_path / "existing.png").touch()
    found = run("plot", path, *options)
    assert found.exit_code == 2 and says in " ".join(found.stderr.split()).replace(
        "Hint: ", "Hint:  "
    )
    assert not (tmp_path / "x.png").exists()


def test_expressions_may_be_named_by_synonyms(tmp_path):
    path = Made([Track(0, [0, 1], "happiness")], n_frames=3).write(tmp_path / "a.parquet")
    drawn = timelines.chart(load(path), expressions=["Sad", "joy"])
    assert drawn.labels == ("happiness", "sadness")


@pytest.mark.slow
def test_plot_in_a_process_of_its_own(jadfer, tmp_path):
    path = Made([Track(0, [0, 1, 2], "happiness")], n_frames=5).write(tmp_path / "a.parquet")
    found = jadfer("plot", path, "-o", tmp_path / "a.png")
    assert found.returncode == 0 and found.stderr.endswith("a.png: 1 track\n"), found.stderr
    assert (tmp_path / "a.png").stat().st_size > 10_000 and not found.stdout


def test_smoothed_curves_have_no_steps_and_stay_within_their_runs(uneven):
    """A point per frame at its middle, joined by straight lines; runs begin and end at their own
    times, with NaN outside."""
    (track,) = timelines.chart(uneven, smooth_s=0.1).tracks
    drawn = curves.curve(track, None, stacked=False)
    assert drawn.x_s[:6].tolist() == pytest.approx([0.1, 0.1, 0.12, 0.22, 0.32, 0.34])
    assert np.isnan(drawn.y[0]).all() and drawn.y[1].tolist() == drawn.y[2].tolist()
    assert drawn.frame[:7].tolist() == [-1, -1, 2, 3, 4, -1, -1]
    assert np.isfinite(drawn.y[5]).all() and np.isnan(drawn.y[6]).all()
    assert (np.diff(drawn.x_s) >= 0).all()


def test_the_legend_shows_what_appears(tmp_path):
    from jadfer_cli.analysis.plots.figure import draw

    p = np.tile(sure("happiness", 0.98), (6, 1))
    p[:, LABELS.index("fear")] = 0.0
    all_usable = load(Made([Track(0, list(range(6)), p)], n_frames=6).write(tmp_path / "a.parquet"))
    part = [Track(0, list(range(3)), "sadness", usable=[True, False, True])]
    partly = load(Made(part, n_frames=6).write(tmp_path / "b.parquet"))

    def legend(result, **how):
        figure = draw(timelines.chart(result, **how), stacked=True)
        return [text.get_text() for text in figure.legends[0].get_texts()]

    assert legend(all_usable) == ["happiness", "others, each below 2%"]
    assert legend(partly, expressions=["sad"]) == ["sadness", "not usable", "track not seen"]
    assert legend(all_usable, expressions=["fear", "sad"]) == ["sadness", "fear"]  # as asked for
    figure = draw(timelines.chart(partly), stacked=False)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["0", "0.5", "1"]
    labels = ("$x$", "_hidden")
    odd = Made([Track(0, [0, 1], "$x$", p=0.6)], n_frames=2, labels=labels)
    assert legend(load(odd.write(tmp_path / "c.parquet"))) == ["$x$", " _hidden"]


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("peak", [0.0001, 0.015, 0.1])
def test_whatever_is_drawn_is_named(tmp_path, peak, stacked):
    """The colours of the figure and of its page are those of their legends, and no others."""
    from matplotlib.colors import to_hex

    from jadfer_cli.analysis.plots.figure import draw
    from jadfer_cli.analysis.plots.page import figure, write

    p = np.zeros((3, 8))
    p[:, LABELS.index("happiness")] = 1, 1 - 3 * peak, 1
    for label in ("neutral", "fear", "anger"):
        p[1, LABELS.index(label)] = peak
    path = Made([Track(0, [0, 1, 2], p)], n_frames=3).write(tmp_path / "a.parquet")
    chart = timelines.chart(load(path))
    drawn = draw(chart, stacked=stacked)
    panel = drawn.axes[0]
    if stacked:
        bands = [c for c in panel.collections if len(c.get_paths()) and c.get_hatch() is None]
        colours = {to_hex(c.get_facecolor()[0]) for c in bands if c.get_zorder() == 1}
    else:
        colours = {to_hex(line.get_color()) for line in panel.lines}
    keys = drawn.legends[0].get_patches()
    names = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert colours == {to_hex(key.get_facecolor()) for key in keys}
    expected = ["happiness"]
    if peak > 0.02:
        expected = ["neutral", "happiness", "anger", "fear"]
    if stacked and peak == 0.015:
        expected += ["others, each below 2%"]
    assert names == expected
    note = drawn.legends[0].get_title().get_text()
    assert ("Below 2%, not drawn: " in note) != stacked
    traces = {trace.legendgroup for trace in figure(chart, None, stacked=stacked).data}
    assert traces - {None} == set(expected)
    write([chart], tmp_path / "a.html", stacked=stacked)
    text = (tmp_path / "a.html").read_text("utf-8")
    assert re.findall(r'data-name="([^"]+)"', text) == expected
    if stacked:  # the stack still reaches 1, up to what is thinner than a pixel
        values = [t.y for t in figure(chart, None, stacked=True).data if t.stackgroup]
        assert np.nansum(values, axis=0)[:3].min() > 0.998


def test_a_single_low_expression_has_its_own_name(tmp_path):
    labels = ("happiness", "sadness", "fear")
    p = np.array([[0.6, 0.39, 0.01]] * 2)
    path = Made([Track(0, [0, 1], p)], n_frames=2, labels=labels).write(tmp_path / "a.parquet")
    from jadfer_cli.analysis.plots.bands import bands

    assert [band.name for band in bands(timelines.chart(load(path)), stacked=True)] == list(labels)


def test_a_yellow_line_has_a_darker_one_behind_it(tmp_path):
    from jadfer_cli.analysis.plots.colours import needs_casing
    from jadfer_cli.analysis.plots.figure import draw

    assert [label for label, colour in COLOURS.items() if needs_casing(colour)] == ["surprise"]
    made = Made([Track(0, [0, 1], wandering(2))], n_frames=2).write(tmp_path / "a.parquet")
    lines = draw(timelines.chart(load(made)), stacked=False).axes[0].lines
    assert [bool(line.get_path_effects()) for line in lines] == [
        label == "surprise" for label in LABELS
    ]


def test_title_and_size(tmp_path, uneven):
    for size, pixels in (("89x90", (700, 708)), ("183X120", (1440, 944))):
        found = run("plot", uneven.path, "-o", tmp_path / "p.png", "--overwrite", "--size", size,
                    "--title", "a $b$ \x1b[2J")  # fmt: skip
        assert found.exit_code == 0, found.stderr
        width, height = struct.unpack(">II", (tmp_path / "p.png").read_bytes()[16:24])
        assert abs(width - pixels[0]) <= 2 and abs(height - pixels[1]) <= 2
    for size in ("big", "10x10", "89", "1x2x3", "nanx90"):
        found = run("plot", uneven.path, "-o", tmp_path / "q.png", "--size", size)
        assert found.exit_code == 2 and "--size takes width x height in mm" in found.stderr
    found = run("plot", uneven.path, "-o", tmp_path / "q.png", "--size", "89x40")
    assert found.exit_code == 2 and "needs a height of at least" in found.stderr


@pytest.mark.slow
def test_a_page_has_a_title_contents_and_one_legend(tmp_path):
    for name, shows in (("a", "happiness"), ("b", "sadness")):
        Made([Track(0, [0, 1], shows, p=0.99)], n_frames=2, video=f"{name}.mp4").write(
            tmp_path / f"<{name}>.parquet"
        )
    out = tmp_path / "page.html"
    assert run("plot", tmp_path, "-o", out, "--title", "A & B").exit_code == 0
    text = out.read_text(encoding="utf-8")
    assert "<title>A &amp; B</title>" in text and "<h1>A &amp; B</h1>" in text
    assert re.findall(r'<li><a href="(#figure\d)">(.+?)</a>', text) == [
        ("#figure0", "&lt;a&gt;"), ("#figure1", "&lt;b&gt;")]  # fmt: skip
    assert re.findall(r'data-name="([^"]+)"', text) == ["happiness", "sadness", OTHERS_NAME]
    assert text.count('id="legend"') == 1 and text.count('"showlegend":false') >= 2
    body = text.split("</head>", 1)[1]
    assert body.index("Drag over") < body.index('id="legend"') < body.index("<h2")
    assert len(set(re.findall(r'"margin":(\{.*?\})', body))) == 1  # hence of equal width


def test_svg_figures_of_hostile_names_are_valid_xml(tmp_path):
    import xml.etree.ElementTree as etree

    made = Made([Track(0, [0, 1], "fear")], n_frames=2, video="a\x1b[2J\x00--><b>&.mp4")
    path = made.write(tmp_path / "a\x1b[2J--><b>&.parquet")  # the heading
    assert run("plot", path, "-o", tmp_path / "a.svg").exit_code == 0
    etree.parse(tmp_path / "a.svg")


@pytest.mark.parametrize("width_mm", [45, 60, 89, 120, 183])
def test_the_legend_fits_into_the_figure(tmp_path, width_mm):
    from jadfer_cli.analysis.plots.figure import draw

    p = np.tile(sure("happiness", 0.96), (3, 1))
    p[:, LABELS.index("sadness")], p[:, LABELS.index("fear")] = 0.03, 0.0
    part = Track(0, [0, 1, 3], p, usable=[True, False, True])
    chart = timelines.chart(load(Made([part], n_frames=5).write(tmp_path / "a.parquet")))
    figure = draw(chart, stacked=True, size_mm=(width_mm, 90))
    figure.canvas.draw()
    place = figure.legends[0].get_window_extent()
    assert len(figure.legends[0].get_texts()) == 5
    assert place.x0 >= 0 and place.x1 <= figure.bbox.width
    assert place.y1 <= figure.axes[0].get_tightbbox().y0
