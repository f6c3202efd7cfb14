"""The guides of examples/guides, which are also in the installed package."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from jadfer_cli.errors import OptionError

_TABLE_ROW = re.compile(r"^\| \[([\w-]+)\]\(\1\.md\) \| (.+) \|$", re.MULTILINE)
_COMMENT = re.compile(r"^<!--.*?-->\n?", re.DOTALL | re.MULTILINE)
_PICTURE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)]*)\)")


def guides_dir() -> Path:
    """Folder of the guides: in the installed package, or in examples/ of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "guides"
    return installed if installed.is_dir() else package.parent / "examples" / "guides"


def guides() -> dict[str, str]:
    """Return what each guide answers, by its name, in the order in which to read them."""
    return dict(_TABLE_ROW.findall((guides_dir() / "README.md").read_text("utf-8")))


def guide_text(name: str) -> str:
    """Return a guide as Markdown for a terminal.

    Pictures are replaced by their descriptions, and links to other guides by the commands that
    print those. Comments are left out.

    Args:
        name: Such as "findings"; "findings.md" is accepted, too.

    Raises:
        OptionError: There is no such guide.
    """
    known = guides()
    name = name.removesuffix(".md")
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Guides: {', '.join(known)}."
        raise OptionError(f"There is no guide named {name}.", hint)
    text = _COMMENT.sub("", (guides_dir() / f"{name}.md").read_text("utf-8"))
    return _LINK.sub(_without_target, _PICTURE.sub(r"*Picture: \1.*", text))


def _without_target(link: re.Match[str]) -> str:
    """The text of a link, and how to follow it from a terminal."""
    words, target = link.groups()
    if target.startswith(("http://", "https://")):
        return f"{words} ({target})"
    page = Path(target.partition("#")[0])
    if page.suffix == ".md" and page.parent == Path(".") and page.stem in guides():
        return f"{words} (`jadfer guide {page.stem}`)"
    return words
