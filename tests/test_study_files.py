"""The first study as a notebook and as R Markdown: both come from the guide, and one runs."""

import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest
from conftest import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def maker() -> Any:
    spec = spec_from_file_location("make_notebook", EXAMPLES / "make_notebook.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_notebook_and_r_markdown_are_the_guide(maker):
    again = "run python examples/make_notebook.py"
    assert (EXAMPLES / "first-study.ipynb").read_text("utf-8") == maker.notebook(), again
    assert (EXAMPLES / "first-study.Rmd").read_text("utf-8") == maker.r_markdown(), again


def test_nothing_of_the_guide_is_lost(maker):
    parts = list(maker.parts())
    notebook, r_markdown = maker.notebook(), maker.r_markdown()
    assert {kind for kind, _ in parts} == {"text", "sh", "python", "r", "figure"}
    for kind, text in parts:
        if kind == "sh":
            assert "\n".join(map(maker.again, text.splitlines())) in r_markdown
            assert all(f"!{line}" in notebook for line in text.splitlines())
    assert "read.csv" in r_markdown and "read.csv" not in notebook
    assert "read_parquet" in notebook and "read_parquet" not in r_markdown


# Commands after `!` run in the kernel's process, which loads the libraries once; a failure raises.
IN_PROCESS = """
import shlex
from typer.testing import CliRunner
from jadfer_cli.cli.app import app

def system(command):
    program, *args = shlex.split(command)
    assert program == "jadfer"
    done = CliRunner().invoke(app, args)
    print(done.output)
    assert done.exit_code == 0, command

get_ipython().system = system
"""


@pytest.mark.long
def test_the_notebook_runs(tmp_path, monkeypatch, short_clip):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    (tmp_path / "examples").mkdir()
    shutil.copy(short_clip, tmp_path / "examples" / "demo.mp4")  # every frame takes time
    monkeypatch.setenv("HOME", str(tmp_path))  # no configuration of Jupyter, no InsightFace pack
    monkeypatch.setenv("JUPYTER_PATH", f"{sys.prefix}/share/jupyter")
    notebook = nbformat.read(EXAMPLES / "first-study.ipynb", as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(IN_PROCESS))
    client = nbclient.NotebookClient(
        notebook, timeout=200, resources={"metadata": {"path": str(tmp_path / "examples")}}
    )
    client.execute()
    study = {path.name for path in (tmp_path / "study").iterdir()}
    assert {
        "demo.parquet", "demo.json", "demo.csv", "demo.html", "smiles.csv", "summary.csv",
        "figure.png", "figure.pdf", "methods.md",
    } <= study  # fmt: skip
    (figure,) = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code" and "Image(" in cell.source
        for output in cell.outputs
    ]
    assert "image/png" in figure.data


def test_a_page_that_is_knitted_again_replaces_its_output_but_no_study_file(maker):
    assert maker.again("jadfer show a.parquet") == "jadfer show a.parquet"
    assert (
        maker.again("jadfer plot a.parquet -o a.png")
        == "jadfer plot a.parquet -o a.png --overwrite"
    )
    assert maker.again("jadfer init -o s.toml") == "test -e s.toml || jadfer init -o s.toml"
