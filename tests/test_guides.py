"""README and guides: every command in them runs, or says why it cannot run here.

A fenced block of `sh` or `python` in README.md or examples/guides/*.md is run, in order, in one
temporary folder per guide, where `prepare` puts the files that guides speak of. A comment just
before the fence changes that:

    <!-- not run: REASON -->    the block is not run; its `jadfer` options are checked all the same
    <!-- exit code: N -->       the last command ends with this code
    <!-- output -->             this `text` block is what the block before it prints; times and
                                rates may differ

Commands are run in this process, which loads the libraries once. Lines that need a shell (pipes,
redirections) are run by bash, with the installed `jadfer`.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from jadfer_cli.cli import app as root_app

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "examples" / "demo.mp4"
PAGES = (ROOT / "README.md", *sorted((ROOT / "examples" / "guides").glob("*.md")))
RUN, SHOWN = {"sh", "python"}, {"text", "r"}
# .ci/run runs README's own test command, in a new environment; tests cannot
INSTALLING = re.compile(r"python3 -m venv |\S*pip install |source |\S*/pytest( |$)")
SHELL = set("|<>&;`*?~")
