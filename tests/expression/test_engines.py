"""Cached ONNX graphs are invalidated by every change of what shaped them."""

import shutil
from pathlib import Path

from jadfer_cli.expression import checkpoint, engines, networks


def test_editing_a_networks_source_gives_another_graph(tmp_path, monkeypatch):
    model = checkpoint.load()
    before = engines.graph_key(model)
    assert engines.graph_key(model) == before
    copy = tmp_path / "networks"
    shutil.copytree(Path(networks.__file__).parent, copy)
    monkeypatch.setattr(networks, "__path__", [str(copy)])
    assert engines.graph_key(model) == before  # contents count, not the path
    for name in (f"{model.architecture}.py", "stems.py", "base.py"):
        text = (copy / name).read_text()
        (copy / name).write_text(text + "\n# edited\n")
        assert engines.graph_key(model) != before, name
        (copy / name).write_text(text)
    monkeypatch.setattr("importlib.metadata.version", lambda package: "0.0")
    assert engines.graph_key(model) != before
