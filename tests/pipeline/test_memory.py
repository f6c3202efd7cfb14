"""Peak memory does not depend on a video's length."""

from pathlib import Path

import pytest
from bench.memory import ratio

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.mp4"


@pytest.mark.slow
@pytest.mark.long
def test_ten_times_the_length_takes_no_more_memory():
    options = ("--detection-size", "160", "--batch-size", "16")
    short_mb, long_mb = ratio(DEMO, 60, 10, *options)
    assert 100 < short_mb and long_mb < 1.1 * short_mb
