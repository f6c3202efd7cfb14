"""The methods paragraph and its BibTeX, from metadata alone."""

import dataclasses
import pathlib
import re

import pandas as pd
import pytest
from made import Made, Track, options

from jadfer_cli.analysis import bibliography
from jadfer_cli.analysis.event_rule import Rule
from jadfer_cli.analysis.failures import Failure
from jadfer_cli.analysis.methods import describe
from jadfer_cli.analysis.tabular import write_table
from jadfer_cli.expression import checkpoint, networks
from jadfer_cli.labels import LABELS
from jadfer_cli.options import AnnotateOptions, FaceOptions
from jadfer_cli.results import load
from jadfer_cli.results.settings import fingerprint

FIGURES = {
    "ferplus test majority": {
        "accuracy": 0.88134, "mean_class_recall": 0.7372, "ece": 0.0128, "n": 3152,
        "intervals_95": {"accuracy": [0.8699, 0.8924]},
    },
    "ferplus test plurality": {"accuracy": 0.83, "n": 3545},
    "ferplus valid majority": {"accuracy": 0.99, "n": 3199},
    "training": {"dataset": "ferplus", "images": 27698},
    "temperature_fitted_on": "ferplus valid, majority",
}  # fmt: skip
SCRFD = {"name": "buffalo_sc", "kind": "scrfd", "sha256": "9" * 64}
FOLLOWER = {"name": "jadfer-follower", "sha256": "8" * 64}


def model(**facts):
    return {
        "name": "jadfer-compact", "sha256": "e36c12c5bd63" + "0" * 52, "preview": False,
        "terms": "", "temperature": 1.0, "metrics": FIGURES,
    } | facts  # fmt: skip


def opened(tmp_path, name="a", tracks=None, **how):
    tracks = [Track(0, [0, 1, 2, 3])] if tracks is None else tracks
    return load.load(Made(tracks, **how).write(tmp_path / f"{name}.parquet"))


def test_one_result(tmp_path):
    track = Track(0, [0, 1, 2, 3], usable=[True, True, True, False])
    found = describe([opened(tmp_path, tracks=[track], metadata={"model": model()})])
    (text,) = found.paragraphs
    for words in (
        "annotated with jadfer 0.",
        "(The jadfer authors, 2026)",
        "one video of 0.4 s with 25 frames per second, every frame was analysed",
        "CenterFace (Xu et al., 2020)",
        "full frames every 0.3 s",
        "ByteTrack (Zhang et al., 2022)",
        "jadfer-compact (sha256 e36c12c5bd63), of the architecture JADFER (Gao et al., 2025; a "
        "reconstruction from the abstract",
        "published neither code nor weights",
        "trained on FER+ (Barsoum et al., 2016), 27,698 images",
        "On 3,152 images of FER+ (test split, protocol: majority) it reached accuracy 88.1% "
        "(95% bootstrap interval 87.0 to 89.2), mean class recall 73.7% and expected calibration "
        "error 0.013",
        "calibrated by temperature scaling (Guo et al., 2017) on FER+ (valid split, protocol: "
        "majority): photographs of faces on which a majority of raters agreed",
        "The limits of this rule follow how jadfer-compact-0.4 fails on worse pictures",
        "by default, events, episodes and transitions are counted by hysteresis (on 0.5, off ",
        "40.0% of 10 analysed frames; 75.0% of 4 faces were usable",
        "fp32 with ONNX Runtime (CPU, 2 threads)",
        "not what the person feels",
    ):
        assert words in text, words
    assert keys(found) == [
        "jadfer", "Xu2020", "Zhang2022", "Gao2025", "Barsoum2016", "Guo2017", "Crete2007",
    ]  # fmt: skip
    assert "doi     = {10.1109/TAFFC.2024.3454988}" in found.bib()
    assert "emotion" not in text.lower()


def keys(found):
    return [re.match(r"@\w+\{(\w+),", entry).group(1) for entry in found.bibtex]


def test_bibtex_is_well_formed(tmp_path):
    for entry in describe([opened(tmp_path)]).bibtex:
        assert entry.count("{") == entry.count("}") and entry.endswith("\n}")
        fields = re.findall(r"^  (\w+)\s+= \{", entry, re.MULTILINE)
        assert {"author", "title", "year"} <= set(fields) and len(fields) == len(set(fields))


def test_many_results_give_ranges(tmp_path):
    metadata = {"model": model()}
    found = describe(
        [
            opened(tmp_path, "a", metadata=metadata),
            opened(tmp_path, "b", [], n_frames=600, metadata=metadata),
            opened(tmp_path, "c", n_frames=8, times_s=[0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8],
                   metadata=metadata),
        ]
    )  # fmt: skip
    (text,) = found.paragraphs
    assert "In 3 videos, 25.3 s in all (0.4 s to 24.0 s each)" in text
    assert "The frame rate varied in 1 of them." in text
    # 4 of 10, 0 of 600, 4 of 8 frames
    assert "1.3% of 618 analysed frames (by video 0 to 50%, median 40%)" in text
    assert "In 1 of the 3 videos no face was found." in text


def test_groups_are_named(tmp_path):
    five = options(every=5, start_s=1.0)
    found = describe(
        [
            opened(tmp_path, "a", model_sha256="7" * 64),
            opened(tmp_path, "b", [], options=five, frames=[0, 5]),
            opened(tmp_path, "c", []),
            opened(tmp_path, "d", []),
        ]
    )
    first, *rest = found.paragraphs
    assert first == (
        "The 4 videos were not all processed alike: they form 3 groups, which differ in model, "
        "--every and --start."
    )
    assert rest[0].startswith("Group 1 of 3. ") and "In 2 videos" in rest[0]
    assert any("every 5th frame from 1 s to the end was analysed" in text for text in rest)
    assert keys(found).count("Gao2025") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metadata", "says", "cites"),
    [
        ({"detector": SCRFD},
         "SCRFD (Guo et al., 2021; buffalo_sc), sha256 999999999999", "Guo2021"),
        ({"model": model(metrics={"training": {"dataset": "rafdb"}})},
         "trained on RAF-DB (Li et al., 2017). It gives a score between 0 and 1", "Li2017"),
        ({"model": model(metrics={"training": {"dataset": "folder"}})},
         "trained on the users' own images.", None),
        ({"model": model(metrics={})}, "trained on is not recorded in the results", None),
        ({"model": model(metrics={})}, "Its accuracy is not recorded", None),
        ({"model": model(preview=True)}, "is a briefly trained preview", None),
        ({"redetect_s": 0}, "in every analysed frame", None),
        ({"redetect_s": 0.3, "follower": FOLLOWER},
         "every 0.3 s, three of four times at half the resolution, and, in between, near", None),
        ({"redetect_s": 0.3, "follower": FOLLOWER, "detector": SCRFD | {"input_px": [640, 640]}},
         "in full frames every 0.3 s and, in between, near their last position by a small", None),
        ({"labels": list(LABELS)}, "for each of 8 labels (neutral,", None),
    ],
)  # fmt: skip
def test_what_the_metadata_say(tmp_path, metadata, says, cites):
    found = describe([opened(tmp_path, metadata=metadata)])
    assert says in found.paragraphs[0]
    assert cites is None or cites in keys(found)


def test_options_and_tracker(tmp_path):
    faces = FaceOptions(tracker="ocsort", min_face_px=40.0, max_faces=1)
    how = dataclasses.replace(AnnotateOptions(), faces=faces)
    found = describe([opened(tmp_path, options=how)])
    assert "OC-SORT (Cao et al., 2023)" in found.paragraphs[0] and "Cao2023" in keys(found)
    assert "other than the defaults: --min-face 40.0, --max-faces 1." in found.paragraphs[0]


BIBTEX = """@article{Dou2031,
  author = {Dou, Ann and {van Bee}, Bob},
  title  = {A Title with an author = {Trap}},
  year   = {2031}
}"""


def test_network_and_detector_are_named_as_the_metadata_say(tmp_path):
    network = {"title": "ExNet", "source": "a test of this program", "citation": BIBTEX}
    detector = {
        "name": "own.onnx", "kind": "other", "sha256": "9" * 64, "title": "BoxNet",
        "citation": BIBTEX.replace("Dou2031", "Eck2032").replace("2031}", "2032}"),
    }  # fmt: skip
    metadata = {"model": model(architecture="ex", network=network), "detector": detector}
    found = describe([opened(tmp_path, metadata=metadata)])
    (text,) = found.paragraphs
    assert "Faces were detected by BoxNet (Dou and van Bee, 2032; own.onnx), sha256 9999" in text
    assert "of the architecture ExNet (Dou and van Bee, 2031; a test of this program); " in text
    assert "its figures are not those of that paper." in text and "JADFER" not in text
    assert {"Dou2031", "Eck2032"} <= set(keys(found)) and "Gao2025" not in keys(found)

    uncited = {"model": model(network=network | {"citation": ""})}
    (text,) = describe([opened(tmp_path, "b", metadata=uncited)]).paragraphs
    assert "of the architecture ExNet (a test of this program). It was trained" in text


def test_the_training_method_is_cited_if_it_is_not_the_networks_own(tmp_path):
    network = {"title": "plain classifier", "source": "a baseline", "citation": ""}
    method = {"name": "ex", "title": "ExMix", "source": "after public code", "citation": BIBTEX}

    def text_of(name, method, network=network):
        training = FIGURES["training"] | {"method": method}
        made = model(network=network, metrics=FIGURES | {"training": training})
        found = describe([opened(tmp_path, name, metadata={"model": made})])
        return found.paragraphs[0], keys(found)

    text, cited = text_of("a", method)
    assert (
        "27,698 images by the method ExMix (Dou and van Bee, 2031; after public code); its "
        "figures are not those of that paper. It gives" in text
    )
    assert "Dou2031" in cited
    text, _ = text_of("b", method | {"citation": ""})
    assert "27,698 images by the method ExMix (after public code). It gives" in text
    own = {"title": "ExMix", "source": "a network", "citation": BIBTEX}
    text, cited = text_of("c", method, own)
    assert "27,698 images. It gives" in text and cited.count("Dou2031") == 1


def test_two_works_under_one_key_are_both_listed(tmp_path):
    network = {"title": "ExNet", "source": "a test", "citation": BIBTEX}
    other = BIBTEX.replace("A Title", "Another Title").replace("2031}", "2032}")
    detector = {"name": "x", "kind": "y", "sha256": "9" * 64, "title": "Box", "citation": other}
    metadata = {"model": model(network=network), "detector": detector}
    found = describe([opened(tmp_path, metadata=metadata)])
    assert sorted(key for key in keys(found) if "Dou" in key) == ["Dou2031", "Dou2031b"]


def test_describing_the_network_does_not_change_what_results_are_compared_by(tmp_path):
    plain = opened(tmp_path, "a", metadata={"model": model()})
    described = opened(tmp_path, "b", metadata={"model": model(architecture="jadfer", network={})})
    assert fingerprint(plain.metadata) == fingerprint(described.metadata)


@pytest.mark.parametrize(
    ("authors", "cited"),
    [
        ("Gao, Yu", "Gao, 2024"),
        ("Gao, Yu and Ren, Weihong", "Gao and Ren, 2024"),
        ("Gao, Yu and Ren, Weihong\n             and Liu, Honghai", "Gao et al., 2024"),
        ("{Canton Ferrer}, Cristian and Anderson, Ed", "Canton Ferrer and Anderson, 2024"),
    ],
)
def test_a_bibtex_entry_is_cited_by_its_authors_and_year(authors, cited):
    bibtex = f"@misc{{Key1,\n  author = {{{authors}}},\n  year   = {{2024}}\n}}"
    assert bibliography.cited(bibtex) == cited
    assert bibliography.key_of(bibtex) == "Key1"


SHIPPED = {
    "name": "jadfer-compact", "sha256": "5" * 64, "part": "whole", "terms": "CC BY-NC 4.0",
    "training": {
        "dataset": "ferplus", "images": 27698,
        "start_model": {"name": "face.pt", "sha256": "6" * 64, "part": "stem",
                        "terms": "Apache-2.0", "training": {"dataset": "ms-celeb-1m"}},
    },
}  # fmt: skip


def fine_tuned(n_test, **more):
    figures = {"accuracy": 1.0, "mean_class_recall": 1.0, "n": n_test}
    training = {"dataset": "folder", "images": 33, "start": "jadfer-compact"}
    return model(
        name="mine", terms="derived from jadfer-compact, whose terms hold: CC BY-NC 4.0",
        metrics={
            "folder valid all": figures, "temperature_kept_from": "jadfer-compact",
            "training": training | {"start_model": SHIPPED}, **more,
        },
    )  # fmt: skip


def test_a_fine_tuned_model_tells_its_history_and_quotes_no_single_image(tmp_path):
    found = describe([opened(tmp_path, metadata={"model": fine_tuned(1)})])
    (text,) = found.paragraphs
    for words in (
        "It was fine-tuned from jadfer-compact (sha256 555555555555) on the users' own images, 33 ",
        "jadfer-compact was trained on FER+ (Barsoum et al., 2016), 27,698 images.",
        "jadfer-compact started from the stem of face.pt (sha256 666666666666). face.pt was "
        "trained on MS-Celeb-1M.",
        "Terms of the weights: derived from jadfer-compact, whose terms hold: CC BY-NC 4.0.",
        "Its accuracy is not known: it was measured on 1 image, too few to be quoted.",
        "sum to 1 and were not calibrated on its own data.",
    ):
        assert words in text, words
    assert "accuracy 100" not in text and "temperature scaling" not in text
    assert "Barsoum2016" in keys(found)


@pytest.mark.parametrize(("n", "quoted"), [(99, False), (100, True)])
def test_accuracy_is_quoted_from_a_hundred_images_on(tmp_path, n, quoted):
    (text,) = describe([opened(tmp_path, metadata={"model": fine_tuned(n)})]).paragraphs
    assert ("accuracy 100.0%" in text) == quoted
    assert ("on the images that chose its training epoch" in text) == quoted


def test_files_of_jadfer_0_5_that_were_calibrated_on_nothing_are_not_called_calibrated(tmp_path):
    old = FIGURES | {"temperature_fitted_on": "nothing: 8 validation images are too few (100)"}
    (text,) = describe([opened(tmp_path, metadata={"model": model(metrics=old)})]).paragraphs
    assert "not calibrated" in text and "temperature scaling" not in text


def test_the_model_of_0_4_has_one_accuracy_whatever_a_result_says(tmp_path):
    old = checkpoint.registry()["jadfer-compact-0.4"]
    texts = []
    for i, sha256 in enumerate((old.sha256, *old.earlier_sha256)):
        metadata = {"model": model(sha256=sha256)}  # with the figures of 0.4, 88.1 %
        found = describe([opened(tmp_path, str(i), metadata=metadata)])
        texts.append(found.paragraphs[0].split("On 3,152 images")[1].split("Of ")[0])
    assert len(set(texts)) == 1 and "it reached accuracy 88.6%" in texts[0]
    assert "(this split was measured nine times while the weights were developed)" in texts[0]
    assert "88.6 | 75.5" in old.path.with_name(old.card).read_text("utf-8")


def test_methods_quotes_the_figures_of_the_shipped_model_as_readme_does(tmp_path):
    shipped = checkpoint.load()
    metadata = {"model": model(sha256=shipped.sha256, metrics=dict(shipped.metrics))}
    (text,) = describe([opened(tmp_path, metadata=metadata)]).paragraphs
    figures = shipped.metrics["ferplus test majority"]
    assert f"it reached accuracy {100 * figures['accuracy']:.1f}%" in text
    assert "(this split was measured 12 times while the weights were developed)" in text
    assert (
        "on FER+ (Barsoum et al., 2016) and press photographs (muxspace/facial_expressions), "
        "33,333 images"
    ) in text
    readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text("utf-8")
    assert f"{100 * figures['accuracy']:.1f} % of the 3,152 FER+ test photographs" in readme
    assert f"{100 * figures['recall']['fear']:.0f} % of fear" in readme


def test_failed_videos_are_counted(tmp_path):
    failures = [Failure("c.mp4", "The file is cut off."), Failure("d.mp4", "The file is cut off.")]
    *_, last = describe([opened(tmp_path)], failures).paragraphs
    assert last == (
        "Of 3 videos, 1 was annotated; 2 could not be, and are not part of these figures. "
        "Reasons: The file is cut off (2 videos)."
    )


def test_rules_come_from_the_tables_given(tmp_path):
    events = pd.DataFrame({"onset_s": [1.0]})
    events.attrs = {"jadfer_events": Rule(on=0.7, min_duration_s=1).settings()}
    summary = pd.DataFrame({"video": ["a"]})
    summary.attrs = {"jadfer_summary": {"rule": ["raw changes, usable faces in intact frames"]}}
    tables = [tmp_path / "events.parquet", tmp_path / "summary.parquet", tmp_path / "none.parquet"]
    for table, path in zip((events, summary), tables, strict=False):
        write_table(table, path)
    (text,) = describe([opened(tmp_path)], (), tables).paragraphs
    assert "Events were counted by hysteresis (on 0.7, off" in text and "at least 1 s" in text
    assert "of the summary were counted by: raw changes, usable faces in intact frames." in text
    assert "by default" not in text
    (text,) = describe([opened(tmp_path, "b")], (), tables[1:]).paragraphs
    assert "No table of events was given; by default, events" in text


def test_each_citation_stands_once():
    from jadfer_cli.faces.detect import DETECTORS

    for kind in DETECTORS.values():
        with pytest.raises(KeyError):
            bibliography.entry(bibliography.key_of(kind.citation))


def test_the_paper_is_cited_as_it_was_published():
    entry = networks.facts("jadfer")["citation"]
    for field, value in (
        ("volume", "16"), ("number", "2"), ("pages", "655--668"), ("year", "2025"),
        ("doi", "10.1109/TAFFC.2024.3454988"), ("note", "Published online in 2024"),
    ):  # fmt: skip
        assert re.search(rf"^  {field} += \{{{re.escape(value)}\}},?$", entry, re.MULTILINE), field
