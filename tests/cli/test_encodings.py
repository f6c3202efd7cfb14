"""A terminal or pipe that cannot write all letters, as on Windows, is no error."""

import io
import json
import os
import shutil

import pytest
from made import Made, Track


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_names_in_other_alphabets_are_printed_by_their_codes(jadfer, tmp_path, encoding):
    path = Made([Track(0, [0, 1, 2])], video="視頻.mp4").write(tmp_path / "r.parquet")
    path = shutil.move(path, tmp_path / "結果é.parquet")
    result = jadfer("show", path, text=False, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert result.returncode == 0, result.stderr
    shown = "\\u7d50\\u679c\\xe9" if encoding == "ascii" else "\\u7d50\\u679cé"
    assert shown in result.stdout.decode(encoding)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
def test_json_stays_json_in_every_encoding(jadfer, tmp_path, encoding):
    """The escapes of Python, \\xe9 and \\U0001f600, are none of JSON."""
    name = "結果éã😀"
    path = Made([Track(0, [0, 1, 2])]).write(tmp_path / "r.parquet")
    path = shutil.move(path, tmp_path / f"{name}.parquet")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    result = jadfer("show", path, "--json", text=False, env=environment)
    assert result.returncode == 0, result.stderr
    assert name in json.dumps(json.loads(result.stdout.decode(encoding)), ensure_ascii=False)


def test_the_log_stays_json_in_every_encoding():
    from jadfer_cli.cli.json_log import write_event

    for encoding in ("utf-8", "cp1252", "ascii"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding, errors="backslashreplace", newline="")
        write_event(stream, "hint", message="結果éã😀")
        line = stream.buffer.getvalue().decode(encoding)
        assert json.loads(line)["message"] == "結果éã😀", line
        assert ("é" in line) == (encoding == "utf-8")
    file = io.StringIO()
    write_event(file, "hint", message="é")
    assert "é" in file.getvalue()


def test_printed_tables_have_no_carriage_returns(invoke, tmp_path, monkeypatch):
    path = Made([Track(0, list(range(30)), "happiness")], 40).write(tmp_path / "r.parquet")
    monkeypatch.setattr(os, "linesep", "\r\n")  # which pandas takes by default
    shown = invoke("events", path)
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.count("\n") == 2 and "\\r" not in shown.stdout
