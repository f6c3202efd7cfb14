"""The repository keeps its promises: README, changelog, rules of the house."""

import ast
import functools
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from made import Made

import jadfer_cli
from jadfer_cli.common import file_sha256
from jadfer_cli.expression.checkpoint import LABELS, registry
from jadfer_cli.results.columns import column_descriptions

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "jadfer_cli"
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAX_README_LINES = 220
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 60
MAX_WORDS = 25  # in a sentence of README and guides


@functools.cache
def trees() -> dict[Path, ast.Module]:
    """The syntax tree of each module of the package, by its path in it."""
    return {
        path.relative_to(PACKAGE): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imports(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def folders() -> list[Path]:
    """The folders of the package that hold code, relative to it, without the package itself."""
    return sorted({path.parent for path in trees()} - {Path(".")})


def sentences(text: str, ends: str = ".!?") -> list[str]:
    return [s for s in re.split(rf"(?<=[{ends}])\s+(?=[A-Z`*\[]|jadfer|$)", text) if s.strip()]


# What is imported where. The layers are checked by `lint-imports` (pyproject.toml).


def test_libraries_are_imported_in_their_place_only():
    places = {
        "decord": ("video/",),
        "av": ("video/",),
        "insightface": ("faces/scrfd.py",),
        "typer": ("cli/",),
        "rich": ("cli/",),
        "click": (),
    }
    for path, tree in trees().items():
        for name in {n.split(".")[0] for n in imports(tree)} & set(places):
            assert path.as_posix().startswith(places[name]), f"{path} imports {name}"


# How the code is divided.


def test_every_folder_says_in_one_or_two_sentences_what_it_holds():
    for folder in folders():
        tree = trees().get(folder / "__init__.py")
        assert tree, f"{folder} has no __init__.py"
        text = ast.get_docstring(tree)
        assert text, f"{folder}/__init__.py has no docstring"
        first = " ".join(text.split("\n\n")[0].split())  # how to add a file may follow
        assert 1 <= len(sentences(first)) <= 2, f"{folder}/__init__.py: {first}"


def test_readme_draws_every_folder_and_no_other():
    picture = README.split("    jadfer_cli/\n", 1)[1].split("    weights/ ", 1)[0]
    drawn, above = set(), {}
    for indent, name in re.findall(r"^( +)(\w+)/ ", picture, re.MULTILINE):
        depth = (len(indent) - 6) // 2
        above[depth] = name
        drawn.add("/".join(above[level] for level in range(depth + 1)))
    assert drawn == {folder.as_posix() for folder in folders()}


def test_readme_draws_the_modules_and_layers():
    picture = README.split("    jadfer_cli/\n", 1)[1].split("    weights/ ", 1)[0]
    modules = {path.name for path in trees() if path.parent == Path(".")} - {"_version.py"}
    inside_folders = {"base.py", "console.py", "detect.py", "flow.py", "scrfd.py"}
    assert set(re.findall(r"\b\w+\.py\b", picture)) - inside_folders == modules
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]
    (layers,) = [c["layers"] for c in rules["contracts"] if c["id"] == "layers"]
    drawn = README.split("layers below its own", 1)[1].split("\n\n")[1].splitlines()
    words = [set(re.findall(r"\w+", re.sub(r"\(.*\)", "", line))) for line in drawn]
    assert words == [set(re.findall(r"\w+", layer)) for layer in layers]


def test_readme_is_short():
    assert len(README.splitlines()) < MAX_README_LINES


def test_no_file_is_too_long_to_read_in_one_sitting():
    lengths = {
        path: len((PACKAGE / path).read_text(encoding="utf-8").splitlines()) for path in trees()
    }
    longer = {str(path): n for path, n in lengths.items() if n > MAX_FILE_LINES}
    assert not longer, f"Longer than {MAX_FILE_LINES} lines: {longer}"


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_function_is_longer_than_a_screen():
    lengths = {
        f"{path}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, tree in trees().items()
        for node in functions(tree)
    }
    longer = {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES}
    assert not longer, f"Longer than {MAX_FUNCTION_LINES} lines: {longer}"


def writes_text(call: ast.Call) -> bool:
    """Whether a call opens a file for writing text, or writes one."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name == "write_text":
        return True
    modes = [a.value for a in call.args if isinstance(a, ast.Constant)]
    modes += [k.value.value for k in call.keywords if k.arg == "mode" and hasattr(k.value, "value")]
    opens = name in ("open", "TemporaryFile", "NamedTemporaryFile")
    is_av = ast.unparse(call.func) == "av.open"
    return opens and not is_av and any(re.fullmatch("[wax]t?[+]?", str(m)) for m in modes)


def test_text_files_have_the_same_line_ends_on_every_system():
    """Without newline=, Windows writes carriage returns, and equal tables give other files."""
    found = [
        f"{path}:{call.lineno}"
        for path, tree in trees().items()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and writes_text(call)
        and not any(keyword.arg == "newline" for keyword in call.keywords)
    ]  # fmt: skip
    assert not found, f"without newline=: {found}"


# What users read.


def test_changelog_names_this_version():
    newest = re.search(
        r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert newest and newest[1] == jadfer_cli.__version__


def columns_table() -> dict[str, list[str]]:
    """The rows of the guide's table by their first cell: type, unit, description."""
    guide = (ROOT / "examples" / "guides" / "columns.md").read_text(encoding="utf-8")
    table = guide.split("| column |", 1)[1].split("\n\n", 1)[0]
    rows = [line.strip("|").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): [cell.strip(" `") for cell in row[1:]] for row in rows}


def test_the_guide_describes_every_column_as_the_sidecar_does():
    table, described = columns_table(), column_descriptions(LABELS)
    scores = [f"p_{label}" for label in LABELS]
    _, _, text = table.pop(f"{scores[0]}` … `{scores[-1]}")
    assert ", ".join(LABELS) in text
    assert list(table) == [name for name in described if name not in scores]
    for name, (_, unit, text) in table.items():
        assert text == described[name]["Description"], name
        assert unit == described[name].get("Units", ""), name


def test_the_guide_gives_the_types_that_pandas_gives(tmp_path):
    Made(n_frames=3).write(tmp_path / "made.parquet")
    types = pd.read_parquet(tmp_path / "made.parquet").dtypes.astype(str)
    for cell, (kind, _, _) in columns_table().items():
        for name in cell.split("` … `"):
            assert types[name] == kind, name


def prose(page: Path) -> Iterator[str]:
    """The paragraphs and list items of a page, without code, tables and pictures."""
    text = re.sub(r"^```.*?^```$|^ {4}.*?$|^\|.*?$|^#.*?$|^!\[.*?$|<!--.*?-->", "",
                  page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)  # fmt: skip
    for paragraph in re.split(r"\n\s*\n|\n(?=- )", text):
        yield " ".join(paragraph.split())


def test_sentences_are_short():
    pages = (ROOT / "README.md", *(ROOT / "examples" / "guides").glob("*.md"))
    long = [
        f"{page.name}: {sentence}"
        for page in pages
        for paragraph in prose(page)
        for sentence in sentences(paragraph, ".!?:;")
        if len(sentence.split()) > MAX_WORDS
    ]
    assert not long, "\n".join(long)


def test_ci_finds_the_test_command_in_the_readme():
    (command,) = re.findall(r"<!-- test command -->\n```sh\n(.+)\n```\n<!-- end -->", README)
    assert command.startswith("python3 -m venv .venv-test && ") and "pytest" in command


# Weights and files.


def test_registry_matches_the_files():
    for entry in registry().values():
        assert file_sha256(entry.path) == entry.sha256
        assert entry.path.stat().st_size < 30e6
        assert (entry.path.parent / entry.card).is_file()
        assert entry.summary and entry.terms
        # a stand-in says so in its name, too
        assert ("preview" in entry.name) == entry.preview
    table = json.loads((ROOT / "weights" / "registry.json").read_text(encoding="utf-8"))
    assert table["default"] in table["models"]


def test_nothing_reads_the_developers_folder():
    for folder in ("jadfer_cli", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "../shared" not in path.read_text(encoding="utf-8"), path
