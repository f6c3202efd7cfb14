"""Writes first-study.ipynb and first-study.Rmd from the guide, guides/first-study.md.

    python examples/make_notebook.py [FOLDER]

In the notebook, commands of the shell begin with `!` and the R code is left out; in R Markdown the
Python code is left out. The guide's picture becomes the figure that the reader has just made.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
GUIDE = HERE / "guides" / "first-study.md"
FIGURE = "study/figure.png"
PART = re.compile(
    r"^(?:<!--[^\n]*-->\n)?```(?P<language>\w+)\n(?P<code>.*?)\n```$|^!\[[^\]]*\]\([^)]*\)$",
    re.DOTALL | re.MULTILINE,
)
FOLDER = "The commands run in the folder that holds `examples/`."


def parts() -> Iterator[tuple[str, str]]:
    """The guide in order: ("text", Markdown), (language, code) or ("figure", "")."""
    text, place = GUIDE.read_text("utf-8"), 0
    # links to other guides lead from examples/, where the notebook lies
    text = re.sub(r"\]\(([\w-]+\.md)", r"](guides/\1", text)
    for match in PART.finditer(text):
        if words := text[place : match.start()].strip():
            yield "text", words
        yield match["language"] or "figure", match["code"] or ""
        place = match.end()
    if words := text[place:].strip():
        yield "text", words


def without_lead_in(parts: Iterator[tuple[str, str]], left_out: str) -> Iterator[tuple[str, str]]:
    """The parts but for the code of one language, and "The same in R:" before it."""
    for kind, text in parts:
        if kind != left_out:
            kept = text.removesuffix("The same in R:").rstrip() if left_out == "r" else text
            if kept or kind == "figure":
                yield kind, kept


def notebook() -> str:
    """The guide as a Jupyter notebook, without outputs."""
    chdir = (
        "import os\nfrom pathlib import Path\n\n"
        'if not Path("examples/demo.mp4").exists():\n    os.chdir("..")'
    )
    shown = f'from IPython.display import Image\n\nImage("{FIGURE}")'
    cells = []
    for kind, text in without_lead_in(parts(), "r"):
        if kind == "sh":
            text = "\n".join(f"!{line}" for line in text.splitlines())
        elif kind == "figure":
            text = shown
        cells.append(("markdown" if kind == "text" else "code", text))
    cells[1:1] = [("markdown", FOLDER), ("code", chdir)]
    written = [
        {
            "cell_type": kind,
            "id": f"part-{number:02}",
            "metadata": {},
            **({"execution_count": None, "outputs": []} if kind == "code" else {}),
            "source": text.splitlines(keepends=True),
        }
        for number, (kind, text) in enumerate(cells)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    book = {"cells": written, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def again(command: str) -> str:
    """A command as it runs in a page that is knitted more than once; the study file is kept."""
    if command.startswith("jadfer init"):
        return f"test -e {command.split()[-1]} || {command}"
    return f"{command} --overwrite" if " -o " in command else command


def r_markdown() -> str:
    """The guide as R Markdown."""
    (_, first), *rest = without_lead_in(parts(), "python")
    heading, _, opening = first.partition("\n")
    lines = [
        "---", f'title: "{heading.removeprefix("# ")}"', "output: html_document", "---", "",
        "```{r setup, include=FALSE}",
        f"# {FOLDER}",
        'knitr::opts_knit$set(root.dir = normalizePath(".."))',
        "```",
        opening.rstrip(),
    ]  # fmt: skip
    for kind, text in rest:
        if kind == "text":
            lines += ["", text.replace("The same in R:", "In R:")]
        elif kind == "figure":
            lines += ["", "```{r, echo=FALSE}", f'knitr::include_graphics("{FIGURE}")', "```"]
        elif kind == "sh":
            lines += ["", "```{bash}", *map(again, text.splitlines()), "```"]
        else:
            lines += ["", f"```{{{kind}}}", text, "```"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes both files."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    (folder / "first-study.ipynb").write_text(notebook(), encoding="utf-8")
    (folder / "first-study.Rmd").write_text(r_markdown(), encoding="utf-8")


if __name__ == "__main__":
    main()
