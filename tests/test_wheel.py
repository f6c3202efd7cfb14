"""The wheel: weights and types inside, and it annotates from outside the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_wheel_is_whole_and_annotates(tmp_path, short_clip):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    built = subprocess.run([*build, str(ROOT)], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("jadfer_cli-*.whl")
    assert wheel.stat().st_size < 40e6
    unpacked = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(unpacked)
    for name in ("py.typed", "weights/registry.json", "weights/LICENSE-WEIGHTS.md"):
        assert f"jadfer_cli/{name}" in names
    for name in ("page.html", "page.css", "curves.js", "player.js", "main.js"):
        assert f"jadfer_cli/overlay/page/{name}" in names
    for guide in (ROOT / "examples" / "guides").glob("*.md"):
        assert f"jadfer_cli/guides/{guide.name}" in names
    assert any(name.endswith(".safetensors") for name in names)
    assert not any(name.startswith(("tests/", "examples/")) for name in names)
    code = "from jadfer_cli.cli import main; main()"
    out = tmp_path / "short.parquet"
    # -P: nothing from the working directory; the unpacked wheel comes before what is installed
    result = subprocess.run(
        [sys.executable, "-P", "-c", code, "annotate", str(short_clip), "-o", str(out)],
        env=dict(os.environ, PYTHONPATH=str(unpacked)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert len(pd.read_parquet(out)) == 8
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import jadfer_cli; print(jadfer_cli.__file__)"],
        env=dict(os.environ, PYTHONPATH=str(unpacked)),
        capture_output=True,
        text=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(unpacked)
