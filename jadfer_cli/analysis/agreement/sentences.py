"""The sentences about agreement for a paper, with the works they cite."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from jadfer_cli._version import __version__
from jadfer_cli.analysis import bibliography
from jadfer_cli.analysis.agreement.pairs import EVENT, FRAME, SHARE, Pair, Settings, Value
from jadfer_cli.analysis.agreement.ratings import MACHINE
from jadfer_cli.analysis.agreement.study import (
    CODERS,
    Agreement,
    Material,
    unrated_share,
)
from jadfer_cli.analysis.methods import Methods
from jadfer_cli.analysis.wording import length, listed
from jadfer_cli.text import count_text

WORKS = {
    "Cohen1960": """@article{Cohen1960,
  author  = {Cohen, Jacob},
  title   = {A Coefficient of Agreement for Nominal Scales},
  journal = {Educational and Psychological Measurement},
  volume  = {20},
  number  = {1},
  pages   = {37--46},
  year    = {1960}
}""",
    "Krippendorff2004": """@book{Krippendorff2004,
  author    = {Krippendorff, Klaus},
  title     = {Content Analysis: An Introduction to Its Methodology},
  edition   = {2nd},
  publisher = {Sage},
  year      = {2004}
}""",
    "Shrout1979": """@article{Shrout1979,
  author  = {Shrout, Patrick E. and Fleiss, Joseph L.},
  title   = {Intraclass Correlations: Uses in Assessing Rater Reliability},
  journal = {Psychological Bulletin},
  volume  = {86},
  number  = {2},
  pages   = {420--428},
  year    = {1979}
}""",
    "Efron1993": """@book{Efron1993,
  author    = {Efron, Bradley and Tibshirani, Robert J.},
  title     = {An Introduction to the Bootstrap},
  publisher = {Chapman and Hall},
  year      = {1993}
}""",
}


def describe(found: Sequence[Agreement], material: Material, settings: Settings) -> Methods:
    """Write the paragraphs.

    Args:
        found: The agreement over all clips, then by group.
        material: The rated clips.
        settings: How raters were compared.
    """
    whole, *groups = found
    paragraphs = [
        " ".join((*_material(whole, material), *_frames(whole, settings))),
        " ".join((*_events(whole, material, settings), *_shares(whole.main))),
    ]
    if groups:
        by = "; ".join(
            f"{group.group}: {_number(group.main.find(FRAME, 'kappa'))}" for group in groups
        )
        paragraphs.append(f"By group, kappa of coders and jadfer was as follows. {by}.")
    year = max(str(clip.result.metadata.get("created", "n.d."))[:4] for clip in material.clips)
    software = bibliography.software([__version__], year)
    return Methods(tuple(p for p in paragraphs if p), (software, *WORKS.values()))


def _material(found: Agreement, material: Material) -> Iterator[str]:
    n = len(material.coders)
    who = "One coder" if n == 1 else f"{n} coders"
    clips = count_text(len({clip.result.path for clip in material.clips}), "clip")
    total = sum(clip.end_s for clip in material.clips)
    yield f"{who} annotated {clips} ({length(total)} in all)."
    classes = _used(found.main, material.words.classes)
    yield (
        f"Codes and the scores of jadfer {__version__} were compared every "
        f"{material.step_s:.3g} s on {listed(classes)}."
    )
    if material.rules.uncoded_neutral:
        yield "Time without a code counted as neutral."
    else:
        yield "Time without a code was left out."
    share = unrated_share(material)
    if share >= 0.001:
        which = "" if material.rules.events.all_faces else "usable "
        yield (
            f"In {share:.1%} of the coded time jadfer saw no {which}face; it is not part of these "
            "figures."
        )


def _frames(found: Agreement, settings: Settings) -> Iterator[str]:
    main, human = found.main, found.human
    agreed = main.find(FRAME, "agreement")
    kappa, alpha = main.find(FRAME, "kappa"), main.find(FRAME, "alpha")
    yield (
        f"{_who(main)} agreed in {agreed.value:.1%} of the time: Cohen's kappa = {_number(kappa)} "
        f"(Cohen, 1960), Krippendorff's alpha = {_number(alpha)} (Krippendorff, 2004)."
    )
    yield (
        f"Intervals are 95% bootstrap intervals ({settings.draws:,} resamples of clips; Efron & "
        "Tibshirani, 1993)."
        if math.isfinite(kappa.clips[0])
        else f"Intervals are 95% bootstrap intervals ({settings.draws:,} resamples of blocks of "
        f"{settings.block_s:g} s; Efron & Tibshirani, 1993), as there are too few clips to "
        "resample those."
        if math.isfinite(kappa.blocks[0])
        else "There is too little material for intervals."
    )
    by_class = [
        f"{cls} {_plain(value.value)}"
        for cls in settings.classes
        if math.isfinite((value := main.find(FRAME, "kappa", cls)).value) and value.n
    ]
    if by_class:
        yield f"By class against the rest, kappa was {listed(by_class)}."
    if human is not None:
        yield (
            f"{_who(human)} agreed among each other with kappa = "
            f"{_number(human.find(FRAME, 'kappa'))}."
        )
    for name, value in found.sets.items():
        yield f"Alpha of {name} together was {_number(value)}."


def _events(found: Agreement, material: Material, settings: Settings) -> Iterator[str]:
    main = found.main
    sensitivity = main.find(EVENT, "sensitivity")
    precision = main.find(EVENT, "precision")
    n_coded, n_machine, n_matched = main.events.sum(0).tolist()
    if not n_coded and not n_machine:
        return
    yield (
        f"Events of {MACHINE} ({material.rules.events.text()}) matched coded ones one to one if "
        f"they overlapped or lay at most {settings.tolerance_s:g} s apart."
    )
    yield (
        f"Of {count_text(n_coded, 'coded event')}, {n_matched:,} were found (sensitivity "
        f"{_number(sensitivity)}); of {count_text(n_machine, 'event')} of {MACHINE}, "
        f"{n_matched:,} were coded (precision {_number(precision)})."
    )
    if len(main.lags_s) > 2:
        onset, offset = np.median(main.lags_s, 0).tolist()
        yield (
            f"Matched events began {abs(onset):.2f} s {_later(onset)} and ended {abs(offset):.2f} "
            f"s {_later(offset)} than the codes (medians)."
        )


def _shares(main: Pair) -> Iterator[str]:
    found = [value for value in main.values if value.level == SHARE]
    over = "icc_clips" if any(value.measure == "icc_clips" for value in found) else "icc_blocks"
    chosen = [v for v in found if v.measure == over and math.isfinite(v.value)]
    if chosen:
        what = "clips" if over == "icc_clips" else "blocks of time"
        words = listed([f"{value.cls} {_plain(value.value)}" for value in chosen])
        yield (
            f"For the share of time of each class in {chosen[0].n} {what}, the intraclass "
            f"correlation ICC(2,1) was {words} (Shrout & Fleiss, 1979)."
        )


def _used(pair: Pair, classes: Sequence[str]) -> list[str]:
    return [
        name
        for k, name in enumerate(classes)
        if pair.confusion[k].any() or pair.confusion[:, k].any()
    ]


def _who(pair: Pair) -> str:
    if pair.a == pair.b:
        return "The coders"
    if pair.a == CODERS:
        return f"The coders and {pair.b}"
    several = "" if pair.b == MACHINE else "s"
    return f"The coder{several} {pair.a} and {pair.b}"


def _later(seconds: float) -> str:
    return "later" if seconds >= 0 else "earlier"


def _plain(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}" if math.isfinite(value) else "undefined"


def _number(found: Value) -> str:
    """A value with its interval over clips, or else over blocks."""
    ends = found.clips if math.isfinite(found.clips[0]) else found.blocks
    interval = f" [{_plain(ends[0])}, {_plain(ends[1])}]" if math.isfinite(ends[0]) else ""
    return f"{_plain(found.value)}{interval}"
