"""The repository keeps its promises: README, changelog, house rules."""

import ast
import json
import re
from pathlib import Path

import jadfer_cli
from jadfer_cli.common import file_sha256
from jadfer_cli.expression.checkpoint import LABELS, registry
from jadfer_cli.results.columns import column_descriptions

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "jadfer_cli"
README = (ROOT / "README.md").read_text()


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


IMPORTS = {path.relative_to(PACKAGE): imports(path) for path in PACKAGE.rglob("*.py")}


def test_libraries_are_imported_in_their_place_only():
    places = {
        "decord": ("video",),
        "av": ("video",),
        "insightface": ("faces/scrfd.py",),
        "typer": ("cli",),
        "rich": ("cli",),
        "click": (),
    }
    # doctor looks at all of them, which is its work
    for path, names in IMPORTS.items():
        for name in {n.split(".")[0] for n in names} & set(places):
            allowed = (*places[name], "installation/doctor.py", "installation/selftest.py")
            assert path.as_posix().startswith(allowed), f"{path} imports {name}"


def test_changelog_names_this_version():
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest and newest[1] == jadfer_cli.__version__


def test_readme_describes_every_column_as_the_sidecar_does():
    for name, entry in column_descriptions(LABELS).items():
        if not name.startswith("p_") or name == "p_max":
            assert f"| `{name}` | " in README, name
            assert entry["Description"] in README, name


def test_registry_matches_the_files():
    for entry in registry().values():
        assert file_sha256(entry.path) == entry.sha256
        assert entry.path.stat().st_size < 30e6
        assert (entry.path.parent / entry.card).is_file()
        assert entry.summary and entry.terms
        # a stand-in says so in its name, too
        assert ("preview" in entry.name) == entry.preview
    table = json.loads((ROOT / "weights" / "registry.json").read_text())
    assert table["default"] in table["models"]


def test_nothing_reads_the_developers_folder():
    for folder in ("jadfer_cli", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "../shared" not in path.read_text(), path
