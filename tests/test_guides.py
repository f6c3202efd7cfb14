"""README and guides: every command in them runs, or says why it cannot run here.

A fenced block of `sh` or `python` in README.md or examples/guides/*.md is run, in order, in one
temporary folder per page, where the fixture `kitchen` puts the files that the pages speak of. A
comment just before the fence changes that:

    <!-- not run: REASON -->    the block is not run; its `jadfer` options are checked all the same
    <!-- exit code: N -->       its last command ends with this code
    <!-- output -->             the `text` block is printed by the blocks before it; rates and the
                                last digits of probabilities may differ

`jadfer` runs in this process, which loads the libraries once. Lines that need a shell (pipes,
patterns) are run by bash, with the installed `jadfer`.
"""

import ast
import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import DEMO, JADFER, ROOT
from typer.main import get_command

import jadfer_cli
from jadfer_cli.cli.app import app

GUIDES = ROOT / "examples" / "guides"
PAGES = (ROOT / "README.md", *sorted(GUIDES.glob("*.md")))
# .ci/run runs README's test command in a new environment; here everything is installed already
# ten seconds of a core and more: CI runs them, after the others
LONG = {
    "agreement", "findings", "many-videos", "other-programs", "python-api", "speed", "studies",
    "training",
}  # fmt: skip
INSTALLING = re.compile(r"python3 -m venv |\S*pip install |source |\S*pytest( |$)")
NEEDS_A_SHELL = set("|<>&;`$*?~")
MARK = re.compile(r"<!-- (not run|exit code|output)(?:: (.+?))? -->")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, its text, and what the comment before it says."""

    page: str
    line: int
    language: str
    text: str
    mark: str | None
    value: str | None

    @property
    def place(self) -> str:
        return f"{self.page}.md line {self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found, lines = [], page.read_text(encoding="utf-8").splitlines()
    begin, mark = None, None
    for number, line in enumerate(lines):
        if begin is None and line.startswith("```"):
            begin = number
        elif begin is not None and line == "```":
            text = "\n".join(lines[begin + 1 : number])
            said = (mark[1], mark[2]) if mark else (None, None)
            found.append(Block(page.stem, begin + 1, lines[begin][3:].strip(), text, *said))
            begin, mark = None, None
        elif begin is None and line.strip():
            mark = MARK.fullmatch(line.strip())
    assert begin is None, f"{page.name}: the block at line {begin} does not end"
    return found


BLOCKS = {page: blocks(page) for page in PAGES}
ALL = [block for page in BLOCKS.values() for block in page]


def commands(text: str) -> Iterator[str]:
    """The commands of a shell block, one per line or joined by &&, without their comments."""
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        yield from (part.strip() for part in line.split("&&") if part.strip())


# What the pages promise, whether it runs here or not.


def test_every_block_is_run_or_says_why_not():
    assert len(PAGES) > 8 and len(ALL) > 30
    for block in ALL:
        assert block.language in ("sh", "python", "text", "r"), block.place
        if block.mark == "not run":
            assert block.value and len(block.value) > 5, f"{block.place}: give a reason"
        if block.mark == "output":
            assert block.language == "text", f"{block.place}: only text is output"
        if block.language == "r":
            assert block.mark == "not run", f"{block.place}: R is not run; say so"
        if block.language == "python":
            ast.parse(block.text)


def options_of(command: Any) -> set[str]:
    """All option names of a command, of its subcommands too."""
    names = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    for sub in getattr(command, "commands", {}).values():
        names |= options_of(sub)
    return {name for name in names if name.startswith("-")} | {"--help"}


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """The option names of each command."""
    root: Any = get_command(app)
    return {name: options_of(root.get_command(None, name)) for name in root.list_commands(None)}


def test_every_option_in_a_block_is_one_of_its_command(options):
    checked = 0
    for block in ALL:
        if block.language != "sh":
            continue
        for name, rest in re.findall(
            r"\bjadfer ([a-z]+(?:-[a-z]+)*)((?:[^|&\n]|\\\n)*)", block.text
        ):
            assert name in options, f"{block.place}: there is no command jadfer {name}"
            given = re.findall(r"(?<!\S)(--?[a-z0-9][a-z-]*)", rest.split(" #")[0])
            unknown = set(given) - options[name]
            assert not unknown, f"{block.place}: jadfer {name} has no {', '.join(unknown)}"
            checked += len(given)
    assert checked > 40


def test_every_option_in_the_text_is_one_of_some_command(options):
    known = set().union(*options.values()) | {"--index-url", "--version"}
    for page in PAGES:
        prose = re.sub(
            r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
        )
        for code in re.findall(r"`([^`]+)`", prose):
            unknown = set(re.findall(r"(?<!\S)(--[a-z][a-z0-9-]*)", code)) - known
            assert not unknown, f"{page.name}: no command has {', '.join(unknown)} ({code})"
            if named := re.match(r"jadfer ([a-z]+(?:-[a-z]+)*)", code):
                assert named[1] in options, f"{page.name}: there is no `{code}`"


def test_every_link_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target} does not exist"


def test_every_public_name_is_in_the_guide_to_python():
    text = (GUIDES / "python-api.md").read_text(encoding="utf-8")
    for name in jadfer_cli.__all__:
        assert re.search(rf"\b{name}\b", text), f"python-api.md does not name {name}"


# Running them.


def store(path: Path, first: int, count: int) -> None:
    """Frames of the demo as a video of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(DEMO)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index, frame in enumerate(source.decode(video=0)):
            if first <= index < first + count:
                picture = frame.to_ndarray(format="rgb24")
                target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        target.mux(stream.encode())


def store_faces(folder: Path) -> None:
    """A folder of labelled pictures, 96 px: frames of the demo, as they are and mirrored.

    Each split is turned differently: frames of one video are twins, and leave training.
    """
    import cv2

    with av.open(str(DEMO)) as container:
        frames = [f.to_ndarray(format="bgr24") for f in container.decode(video=0)][:60:10]
    splits = (("train", frames[:4]), ("valid", frames[4:5]), ("test", frames[5:]))
    for turns, (split, part) in enumerate(splits):
        for i, frame in enumerate(part):
            for name, picture in (("happiness", frame), ("sadness", frame[:, ::-1])):
                target = folder / split / name / f"{i}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                small = cv2.resize(picture[:, 40:280], (96, 96))
                cv2.imwrite(str(target), np.rot90(small, turns))


def store_study(folder: Path) -> None:
    """A made study: 6 people with one video of 4 trials each, in two conditions."""
    groups = ["participant,age,group"]
    trials = ["participant,trial,video,onset_s,duration_s,condition"]
    for number in range(6):
        name = f"P{number + 1:02}"
        store(folder / "study" / f"{name}.mp4", 5 * number, 24)
        groups.append(f"{name},{21 + 7 * number},{'patient' if number % 2 else 'control'}")
        for trial in range(4):
            condition = "approach" if (trial + number) % 2 else "rest"
            trials.append(f"{name},{trial + 1},{name}.mp4,{0.1 + 0.2 * trial:.1f},0.15,{condition}")
    (folder / "participants.csv").write_text("\n".join(groups) + "\n")
    (folder / "trials.csv").write_text("\n".join(trials) + "\n")
    neutral = [f"P{number:02}.mp4,0,0.1" for number in range(1, 7)]
    (folder / "neutral.csv").write_text("\n".join(["video,start_s,end_s", *neutral]) + "\n")


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages speak of, small; each page gets a copy."""
    folder = tmp_path_factory.mktemp("kitchen")
    store(folder / "examples" / "demo.mp4", 0, 40)  # README's page gets the whole one
    for number, name in enumerate(
        ("clip.mp4", "clips/anna.mp4", "clips/later/ben.mp4", "day1/carla.mp4", "day2/dan.mp4")
    ):
        store(folder / name, 3 * number, 12)
    (folder / "broken.mp4").write_bytes(b"not a video")
    (folder / "list.txt").write_text("clips/anna.mp4\nday1/carla.mp4\n")
    store_faces(folder / "faces")
    store_study(folder)
    return folder


class Reader:
    """Runs the blocks of one page, in the working folder.

    Args:
        invoke: Runs `jadfer` in this process.
    """

    def __init__(self, invoke: Callable[..., Any]) -> None:
        self.invoke = invoke
        self.names: dict[str, Any] = {}  # of the Python blocks, which build on one another
        self.printed = ""

    def run(self, block: Block) -> None:
        if block.mark == "not run":
            return
        if block.mark == "output":
            check_output(block, self.printed)
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(block.text, block.place, "exec"), self.names)
            self.printed += out.getvalue()
        elif block.language == "sh":
            todo = [c for c in commands(block.text) if not INSTALLING.match(c)]
            for number, command in enumerate(todo):
                last = number == len(todo) - 1
                expected = int(block.value or 0) if block.mark == "exit code" and last else 0
                code, said = self.command(command)
                assert code == expected, f"{block.place}: {command}\nexit code {code}\n{said}"
                self.printed += said

    def command(self, command: str) -> tuple[int, str]:
        """Exit code and everything printed."""
        plain, stream, file = re.fullmatch(r"(.+?)(?: (2?)> (\S+))?", command).groups()  # type: ignore[union-attr]
        unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "", plain)
        program, *args = shlex.split(plain)
        if Path(program).name == "jadfer" and not NEEDS_A_SHELL & set(unquoted):
            result = self.invoke(*args, width=120)
            if file:
                Path(file).write_text(result.stderr if stream else result.stdout)
            return result.exit_code, result.output
        path = f"{JADFER.parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            env=dict(os.environ, PATH=path), capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr


def check_output(block: Block, printed: str) -> None:
    """All lines of a block were printed, in this order."""
    rest = iter(printed.splitlines())
    for line in block.text.splitlines():
        assert any(same(line, other) for other in rest), (
            f"{block.place}: not printed, or not in this order: {line}\nPrinted was:\n{printed}"
        )


def same(line: str, other: str) -> bool:
    """Whether two lines agree, but for rates and the last digits of probabilities."""
    rate = re.compile(r"\d+\.\d (?=frames/s)")
    a, b = (rate.sub("", text).split() for text in (line, other))
    return len(a) == len(b) and all(x == y or close(x, y) for x, y in zip(a, b, strict=True))


def close(x: str, y: str) -> bool:
    probability = re.compile(r"[01]\.\d{4,}")
    return bool(
        probability.fullmatch(x) and probability.fullmatch(y) and abs(float(x) - float(y)) < 0.005
    )


def typed() -> list[Any]:
    """The pages with blocks; the long ones marked."""
    return [
        pytest.param(page, id=page.stem, marks=[pytest.mark.long] if page.stem in LONG else [])
        for page in PAGES
        if BLOCKS[page]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("page", typed())
def test_a_reader_types_it(page, kitchen, invoke, tmp_path, monkeypatch):
    folder = tmp_path / "jadfer"
    shutil.copytree(kitchen, folder)
    if page.name == "README.md":  # it shows what the demo gives
        shutil.copy(DEMO, folder / "examples" / "demo.mp4")
    monkeypatch.chdir(folder)
    # a fresh machine has no InsightFace packs; cached graphs are the same for all
    monkeypatch.setenv(
        "XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    reader = Reader(invoke)
    for block in BLOCKS[page]:
        reader.run(block)
