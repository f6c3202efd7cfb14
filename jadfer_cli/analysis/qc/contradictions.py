"""Do scores and facial actions agree? Only for results of `annotate --actions`."""

from __future__ import annotations

from collections.abc import Iterator

from jadfer_cli.analysis.qc.clip import Clip
from jadfer_cli.analysis.qc.finding import Check, Finding
from jadfer_cli.analysis.witness import contradictions
from jadfer_cli.errors import ResultError

# Shorter ones occur as an expression begins or ends: the networks change a few frames apart.
MIN_DURATION_S = 0.2


def _contradictions(clip: Clip) -> Iterator[Finding]:
    try:
        found = contradictions(clip.result, clip.annotated)
    except ResultError as error:
        text = f"The facial actions cannot be read: {error.message}"
        yield Finding("contradiction", "no actions", text, look="annotate")
        return
    for each in found:
        if each.duration_s >= MIN_DURATION_S - 1e-6:
            longest = max(each.spans(), key=lambda span: span.end_s - span.start_s)
            brief = f"{each.text}, {each.duration_s:.1f} s"
            yield Finding("contradiction", brief, each.sentence(), longest.start_s)


CHECKS = (
    Check("contradiction", "scores and facial actions contradict each other", _contradictions),
)
