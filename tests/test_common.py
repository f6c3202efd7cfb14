"""Helpers that all stages share: times as text, hashes, files written atomically."""

import hashlib
import sys

import pytest

from jadfer_cli import common
from jadfer_cli.errors import OutputError


@pytest.mark.parametrize(
    ("seconds", "decimals", "text"),
    [
        (0, 0, "0:00"),
        (12.4, 0, "0:12"),
        (59.5, 0, "1:00"),
        (3725, 0, "1:02:05"),
        (59.996, 2, "1:00.00"),
        (83.456, 2, "1:23.46"),
        (65.04, 1, "1:05.0"),
    ],
)
def test_a_clock_rounds_before_it_splits(seconds, decimals, text):
    assert common.clock(seconds, decimals=decimals) == text


def test_short_times_are_as_precise_as_they_are_short():
    # 59.999 s rounds to a minute, 3599.96 s to an hour
    seconds = (0, 4.956, 59.999, 65.25, 3599.96, 3725)
    expected = ["0.00 s", "4.96 s", "1:00.0", "1:05.2", "1:00:00", "1:02:05"]
    assert [common.short_time(s) for s in seconds] == expected


def test_parsed_seconds():
    texts = ("90", "1:30", "0:01:30.5")
    assert [common.parse_seconds(text) for text in texts] == [90.0, 90.0, 90.5]
    with pytest.raises(ValueError, match="abc"):
        common.parse_seconds("1:abc")
    for text in ("1:90", "1:60:00", "1:-5", "0:1:2:3"):
        with pytest.raises(ValueError, match="from 0 to 59"):
            common.parse_seconds(text)


def test_a_hash_stops_on_request(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"x" * (3 << 20))
    assert common.file_sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    asked = iter([False, True])
    assert common.file_sha256(file, lambda: next(asked)) == (
        hashlib.sha256(b"x" * (1 << 20)).hexdigest()
    )


def test_an_atomic_write_replaces_or_leaves_no_trace(tmp_path):
    out = tmp_path / "new" / "f.txt"
    with common.atomic_write(out) as part:
        part.write_text("first")
        assert not out.exists()
    with pytest.raises(KeyboardInterrupt), common.atomic_write(out) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(OutputError, match=r"f\.txt cannot be written: No space left.*make room"):
        with common.atomic_write(out) as part:
            part.write_text("half")
            raise OSError(28, "")
    assert [path.read_text() for path in out.parent.iterdir()] == ["first"]


def test_suppressed_output_hides_what_libraries_print_but_no_error(capsys):
    with pytest.raises(ValueError, match="real"), common.suppressed_output():
        print("noise")
        print("noise", file=sys.stderr)
        raise ValueError("real")
    assert capsys.readouterr() == ("", "")
