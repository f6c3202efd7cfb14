"""The checks of `jadfer doctor`: what this installation consists of, and whether it works.

A check yields findings and never raises: whatever is broken is what the user wants to know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jadfer_cli.common import suppressed_output
from jadfer_cli.errors import JadferError
from jadfer_cli.installation import environment
from jadfer_cli.installation.findings import OK, PROBLEM, WARNING, Finding, finding_from_error


def check_detectors() -> Iterator[Finding]:
    """Whether CenterFace and the installed packs are undamaged and load."""
    from jadfer_cli.faces.packs import packs_folder
    from jadfer_cli.installation import models

    group, fetch = "Face detectors", "jadfer models fetch"
    n_packs = 0
    for item in models.detectors():
        if models.FETCHABLE in item.marks:
            folder = packs_folder() / item.name
            if folder.exists():
                detail = f"{folder} contains no detector: the download was interrupted"
                yield Finding(group, item.name, WARNING, detail, f"{fetch} {item.name} --overwrite")
            continue
        is_pack = item.kind == models.PACK
        n_packs += is_pack
        auto = ", used by --detector auto" if models.AUTO in item.marks else ""
        try:
            yield Finding(group, item.name, OK, f"{models.verify(item)}; {item.terms}{auto}")
        except JadferError as error:
            # --detector auto skips a broken pack, but falls back to CenterFace
            status = WARNING if is_pack else PROBLEM
            remedy = f"{fetch} {item.name} --overwrite" if is_pack else error.hint or ""
            yield Finding(group, item.name, status, error.message, remedy)
    if not n_packs:
        detail = f"none; `{fetch} buffalo_sc` installs one (non-commercial research only)"
        yield Finding(group, "InsightFace packs", OK, detail)
    yield _follower(group)


def _follower(group: str) -> Finding:
    """Whether the network that follows faces is undamaged and loads."""
    from jadfer_cli.faces.follower import FILE, load_follower

    try:
        load_follower("network")
    except JadferError as error:
        return finding_from_error(group, FILE, error)
    return Finding(group, FILE, OK, "undamaged; follows faces between searches of the whole frame")


def check_weights() -> Iterator[Finding]:
    """Whether the shipped weights are undamaged and load."""
    from jadfer_cli.installation import models

    group = "Expression weights"
    for item in models.weights():
        marks = f"{', '.join(item.marks)}; " if item.marks else ""
        try:
            yield Finding(group, item.name, OK, f"{marks}{models.verify(item)}")
        except JadferError as error:
            yield finding_from_error(group, item.name, error)


def check_landmarker() -> Iterator[Finding]:
    """Whether the face landmarker for --actions loads, if it is installed."""
    from jadfer_cli.installation import models

    group, item = "Facial actions", models.landmarker()
    if models.FETCHABLE in item.marks:
        detail = f"not installed; `jadfer models fetch {item.name}` installs it, for --actions"
        yield Finding(group, item.name, OK, detail)
        return
    try:
        yield Finding(group, item.name, OK, f"{models.verify(item)}; {item.terms}")
    except JadferError as error:  # everything else works without it
        yield Finding(group, item.name, WARNING, error.message, error.hint or "")


def check_pipeline() -> Iterator[Finding]:
    """Every stage, run once."""
    from jadfer_cli.installation import selftest

    yield from selftest.run()


CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "System": environment.check_system,
    "Libraries": environment.check_libraries,
    "Devices": environment.check_devices,
    "Video decoders": environment.check_decoders,
    "Face detectors": check_detectors,
    "Expression weights": check_weights,
    "Facial actions": check_landmarker,
    "Self test": check_pipeline,
}


def examine(begin: Callable[[str], None] = lambda group: None) -> Iterator[Finding]:
    """Runs all checks, in order.

    Args:
        begin: Called with the name of each group before its checks run.
    """
    for group, check in CHECKS.items():
        begin(group)
        try:
            with suppressed_output():
                findings = list(check())
        except Exception as error:  # a check that fails is a finding, too
            findings = [finding_from_error(group, group.lower(), error)]
        yield from findings
