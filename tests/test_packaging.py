"""What is published says the same everywhere: version, licence, dependencies, contents."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
from conftest import JADFER, ROOT

import jadfer_cli

yaml = pytest.importorskip("yaml")

PACKAGING = ROOT / "examples" / "packaging"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# conda-forge's names, where they differ
CONDA = {"torch": "pytorch", "opencv-python": "py-opencv", "matplotlib": "matplotlib-base"}


def test_every_file_names_this_version():
    version = jadfer_cli.__version__
    assert str(yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"]) == version
    assert json.loads((ROOT / "codemeta.json").read_text("utf-8"))["version"] == version
    recipe = yaml.safe_load((PACKAGING / "recipe.yaml").read_text("utf-8"))
    assert recipe["context"]["version"] == version
    assert f"Version {version}\n" in (PACKAGING / "jadfer.def").read_text("utf-8")
    for path in PACKAGING.iterdir():
        for found in re.findall(
            r"(?:jadfer:|jadfer_cli-|git tag -s v)(\d[\d.]*\d)", path.read_text()
        ):
            assert found == version, path.name


def test_the_tag_is_the_version():
    git = ["git", "-C", str(ROOT), "tag", "--points-at", "HEAD", "v*"]
    done = subprocess.run(git, capture_output=True, text=True)
    if done.returncode or not done.stdout.strip():
        pytest.skip("this commit has no tag")
    assert f"v{jadfer_cli.__version__}" in done.stdout.split()


def test_licences_keywords_and_description_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    meta = json.loads((ROOT / "codemeta.json").read_text("utf-8"))
    recipe = yaml.safe_load((PACKAGING / "recipe.yaml").read_text("utf-8"))
    licences = PROJECT["license"].split(" AND ")
    assert citation["license"] == licences
    assert [url.rsplit("/", 1)[1] for url in meta["license"]] == licences
    assert recipe["about"]["license"] == PROJECT["license"]
    assert recipe["about"]["license_file"] == PROJECT["license-files"]
    assert citation["keywords"] == meta["keywords"] == PROJECT["keywords"]
    assert meta["description"] == recipe["about"]["summary"] == PROJECT["description"]
    assert meta["identifier"] == recipe["package"]["name"] == PROJECT["name"]


def test_the_recipe_needs_what_the_package_needs():
    recipe = yaml.safe_load((PACKAGING / "recipe.yaml").read_text("utf-8"))
    wanted = [f"python {PROJECT['requires-python']}"]
    for text in PROJECT["dependencies"]:
        match = re.fullmatch(r"([\w-]+)(.*)", text)
        assert match, text
        wanted.append(f"{CONDA.get(match[1], match[1])} {match[2]}")
    assert recipe["requirements"]["run"] == wanted
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert entry == f"jadfer = {PROJECT['scripts']['jadfer']}"


def test_classifiers_claim_only_what_was_tested():
    minor = [c.rsplit(" ", 1)[1] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert minor == ["3.11"]
    assert [c for c in PROJECT["classifiers"] if "Operating System" in c] == [
        "Operating System :: POSIX :: Linux"
    ]
    assert not [c for c in PROJECT["classifiers"] if c.startswith("License")]  # PEP 639


def test_every_upper_bound_has_a_reason():
    """As a comment on the line or above it; without one, nobody knows when it may be lifted."""
    lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()
    begin = lines.index("dependencies = [")
    bounded = [i for i in range(begin, len(lines)) if re.match(r'\s+"[^"]*<', lines[i])]
    assert bounded, "the bound of torch"
    for i in bounded:
        assert "#" in lines[i] or lines[i - 1].lstrip().startswith("#"), lines[i]


def test_containers_and_lock_agree_with_pyproject():
    (torch,) = [text for text in PROJECT["dependencies"] if text.startswith("torch")]
    for name in ("Dockerfile", "jadfer.def"):
        assert f'"{torch}"' in (PACKAGING / name).read_text("utf-8"), name
    locked = (ROOT / ".ci" / "constraints.txt").read_text("utf-8")
    names = {line.partition("==")[0] for line in locked.splitlines() if "==" in line}
    needed = {re.match(r"[\w-]+", text)[0] for text in PROJECT["dependencies"]} - {"torch"}  # type: ignore[index]
    assert needed <= names, "run bash .ci/lock"


@pytest.mark.parametrize(
    ("typed", "offered"), [("jadfer ann", "annotate"), ("jadfer events --min", "--min-duration")]
)
@pytest.mark.slow
def test_the_tab_key_completes(typed, offered):
    environment = {
        "_JADFER_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    done = subprocess.run(
        [str(JADFER)], env=os.environ | environment, capture_output=True, text=True
    )
    assert offered in done.stdout.split(), done.stderr


@pytest.mark.slow
def test_wheel_and_sdist_pass_the_checks_of_pypi(tmp_path):
    for tool in ("twine", "check_wheel_contents"):
        pytest.importorskip(tool)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    files = sorted(map(str, tmp_path.iterdir()))
    assert [name.rsplit(".", 1)[1] for name in files] == ["whl", "gz"]
    for check in (["twine", "check", "--strict", *files], ["check_wheel_contents", files[0]]):
        done = subprocess.run(
            [sys.executable, "-m", *check], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_installed_metadata_are_complete():
    found = metadata.metadata("jadfer-cli")
    if found["Version"] != jadfer_cli.__version__:
        pytest.skip(f"jadfer-cli {found['Version']} is installed, not this version")
    assert found["License-Expression"] == PROJECT["license"]
    assert found["Requires-Python"] == PROJECT["requires-python"]
