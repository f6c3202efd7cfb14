"""`jadfer guide`: every guide is listed, is printed, and links lead to other guides."""

import re

import pytest
from conftest import ROOT

from jadfer_cli.installation import guides

FOLDER = ROOT / "examples" / "guides"
NAMES = sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "README")


def test_every_guide_is_in_the_list_and_readme_knows_it(invoke):
    assert sorted(guides.guides()) == NAMES
    done = invoke("guide", width=120)
    assert done.exit_code == 0
    for name, answers in guides.guides().items():
        assert re.search(rf"^ *{name} +{re.escape(answers.replace('`', ''))}", done.stdout, re.M)


@pytest.mark.parametrize("name", NAMES)
def test_a_guide_is_printed_without_what_a_terminal_cannot_show(invoke, name):
    done = invoke("guide", name)
    assert done.exit_code == 0
    original = (FOLDER / f"{name}.md").read_text("utf-8")
    assert done.stdout.splitlines()[0] == original.splitlines()[0]
    assert "<!--" not in done.stdout and "](" not in done.stdout
    for heading in re.findall(r"^## .+$", original, re.MULTILINE):
        assert heading in done.stdout


def test_links_and_pictures_are_words(invoke):
    text = invoke("guide", "first-study").stdout
    assert "findings (`jadfer guide findings`)" in text
    assert "*Picture: Stacked probabilities over nine seconds" in text
    assert guides.guide_text("findings.md") == guides.guide_text("findings")


def test_an_unknown_guide_is_answered_with_one_that_exists(invoke):
    done = invoke("guide", "finding")
    assert done.exit_code == 2
    assert "There is no guide named finding." in done.stderr and "findings?" in done.stderr
    assert "first-study, many-videos" in " ".join(invoke("guide", "xyz").stderr.split())


def test_the_installed_package_comes_before_the_checkout(tmp_path, monkeypatch):
    package = tmp_path / "jadfer_cli"
    (package / "guides").mkdir(parents=True)
    monkeypatch.setattr(guides, "__file__", str(package / "installation" / "guides.py"))
    assert guides.guides_dir() == package / "guides"


def test_on_a_terminal_it_is_drawn(invoke, monkeypatch, capsys):
    from rich.markdown import Markdown

    from jadfer_cli.cli.commands import guide as command
    from jadfer_cli.cli.console import Console

    drawn = []
    monkeypatch.setattr(
        command, "stdout_console", lambda: Console(force_terminal=True, width=60, color_system=None)
    )
    monkeypatch.setattr(Console, "print", lambda self, *objects, **_: drawn.extend(objects))
    assert invoke("guide", "speed").exit_code == 0
    assert isinstance(drawn[0], Markdown)
