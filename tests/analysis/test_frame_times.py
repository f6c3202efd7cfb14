"""How long an analysed frame stands for, and unbroken runs of frames."""

import numpy as np
import pytest
from made import Made, options

from jadfer_cli.analysis.frame_times import frame_spans, unbroken_runs
from jadfer_cli.results.load import load


def test_a_frame_stands_for_the_time_until_the_next_analysed_one(tmp_path):
    # frames at 0, 0.04, 0.1, 0.14, 0.3 and 0.34 s; every second of them at 0, 0.1 and 0.3 s
    times = [0, 0.04, 0.1, 0.14, 0.3, 0.34]
    every = load(
        Made(n_frames=6, times_s=times, frames=[0, 2, 4], options=options(every=2)).write(
            tmp_path / "every.parquet"
        )
    )
    spans = frame_spans(every.rows(), every.metadata)
    assert spans.index.tolist() == [0, 2, 4]
    # the last would last 0.15 s, the median of 0.1 and 0.2, but the video ends at 0.38 s
    assert spans["span_s"].tolist() == pytest.approx([0.1, 0.2, 0.08])
    whole = load(Made(n_frames=6, times_s=times).write(tmp_path / "whole.parquet"))
    spans = frame_spans(whole.rows(), whole.metadata)
    assert spans["end_s"].tolist() == pytest.approx([*times[1:], 0.38])
    assert spans["span_s"].sum() == pytest.approx(whole.metadata["video"]["duration_s"])


def test_unbroken_runs():
    runs = unbroken_runs(np.array([0, 1, 2, 5, 7, 8]))
    assert runs == [slice(0, 3), slice(3, 4), slice(4, 6)]
    assert unbroken_runs(np.array([], np.int64)) == []
