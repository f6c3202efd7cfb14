"""A terminal or pipe that cannot write all letters, as on Windows, is no error."""

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
