"""Makes everything anew that follows from the shipped weights, after `release.py`.

    python tests/bench/regenerate.py [--only rows|pictures|outputs]

- rows: the kept rows of the demo, of the present revision; only before that revision is released.
- pictures: examples/plot.png, examples/overlay.png, and the notebook of the first study.
- outputs: blocks after `<!-- output -->` in README and guides, by running the pages as
  `tests/test_guides.py` does. Each line that is no longer printed becomes the printed line that is
  most like it, and is shown here. Read them: the text around may speak of the old ones.
"""

import argparse
import difflib
import subprocess
import sys
from pathlib import Path

import pytest

from jadfer_cli.results.revision import RESULTS_REVISION

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
_ALIKE = 0.5  # of two lines, by difflib


def printed_instead(text: str, printed: str, same) -> list[str]:
    """The lines of a block, each as printed now; in order.

    Raises:
        ValueError: A line has no counterpart.
    """
    rest, found = printed.splitlines(), []
    for line in text.splitlines():
        exact = next((i for i, other in enumerate(rest) if same(line, other)), None)
        if exact is not None:
            found.append(line)  # rates and last digits stay as they are
            rest = rest[exact + 1 :]
            continue
        alike = [difflib.SequenceMatcher(None, line, other).ratio() for other in rest]
        best = max(range(len(rest)), key=alike.__getitem__, default=None)
        if best is None or alike[best] < _ALIKE:
            raise ValueError(f"nothing like this line is printed any more: {line}")
        found.append(rest[best].rstrip())
        rest = rest[best + 1 :]
    return found


class Rewriter:
    """A plugin of pytest: where a page's output is checked, it is written anew."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    @pytest.fixture(autouse=True)
    def _rewriting(self, request, monkeypatch):
        test_guides = request.module  # as pytest has loaded it
        of_block = {id(b): page for page in test_guides.PAGES for b in test_guides.BLOCKS[page]}

        def rewrite(block, printed: str) -> None:
            page = of_block[id(block)]  # two pages are called README
            try:
                lines = printed_instead(block.text, printed, test_guides.same)
            except ValueError as error:
                self.failed.append(f"{block.place}: {error}")
                return
            new = "\n".join(lines)
            if new != block.text:
                for change in difflib.ndiff(block.text.splitlines(), lines):
                    if change[0] in "+-":
                        print(f"{block.place}: {change}", file=sys.__stderr__)
                text = page.read_text("utf-8")
                assert text.count(f"```text\n{block.text}\n```") == 1, block.place
                text = text.replace(f"```text\n{block.text}\n```", f"```text\n{new}\n```")
                page.write_text(text, "utf-8")

        monkeypatch.setattr(test_guides, "check_output", rewrite)


def rows() -> None:
    pipeline = ROOT / "tests" / "pipeline"
    kept = pipeline / "golden" / f"demo-rows-{RESULTS_REVISION}.csv"
    kept.unlink(missing_ok=True)
    subprocess.run([sys.executable, pipeline / "test_revision.py"], check=True)


def pictures() -> None:
    for name in ("make_pictures.py", "make_notebook.py"):
        subprocess.run([sys.executable, ROOT / "examples" / name], check=True)


def outputs() -> None:
    import test_guides

    written = [
        page.stem for page in test_guides.PAGES
        if any(block.mark == "output" for block in test_guides.BLOCKS[page])
    ]  # fmt: skip
    plugin = Rewriter()
    wanted = " or ".join(f"types_it[{stem}]" for stem in written)
    code = pytest.main(
        [str(ROOT / "tests" / "test_guides.py"), "-q", "-p", "no:randomly", "-k", wanted],
        plugins=[plugin],
    )
    if code or plugin.failed:
        sys.exit("\n".join(plugin.failed) or f"pytest ended with {code}")


STEPS = {"rows": rows, "pictures": pictures, "outputs": outputs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=tuple(STEPS))
    a = parser.parse_args()
    for name, step in STEPS.items():
        if a.only in (None, name):
            print(f"{name} ...", flush=True)
            step()


if __name__ == "__main__":
    main()
