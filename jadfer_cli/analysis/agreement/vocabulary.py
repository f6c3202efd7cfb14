"""Which expression each of the coders' words stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jadfer_cli.analysis.agreement.tables import column, lines_of, place
from jadfer_cli.analysis.frame_times import Floats
from jadfer_cli.errors import CodesError, OptionError
from jadfer_cli.labels import BY_NAME

NEUTRAL = "neutral"
LEFT_OUT = "-"  # a word that stands for time without a judgement, such as "off screen"
_JOIN = "+"  # anger+disgust: the coders did not tell them apart


@dataclass(frozen=True)
class Vocabulary:
    """The classes that coders and machine are compared on.

    Attributes:
        classes: K names: the model's labels, with a coder's word for each group of them.
        members: For each class, the indices of its labels.
        of_word: The class of each word, in lower case; None for time without a judgement.
    """

    classes: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    of_word: dict[str, int | None]

    def grouped(self, p: Floats) -> Floats:
        """Return probabilities (n, K) of the classes, from those (n, L) of the labels."""
        return np.stack([p[:, list(own)].sum(1) for own in self.members], axis=1)

    @property
    def neutral(self) -> int | None:
        """The class neutral, if the model has it on its own."""
        return self.classes.index(NEUTRAL) if NEUTRAL in self.classes else None


def build(words: Iterable[str], labels: Sequence[str], given: Mapping[str, str]) -> Vocabulary:
    """Find the class of each word.

    Words that are names of expressions, such as happy, need no entry.

    Args:
        words: The coders' words.
        labels: The model's L labels.
        given: For each of the coders' words an expression, several joined by +, or "-".

    Raises:
        OptionError: An entry names no expression, or two entries overlap.
        CodesError: A word is neither an expression nor in `given`.
    """
    own = {word.strip().lower(): _members(word, text, labels) for word, text in given.items()}
    known = {word: (labels.index(name),) for word, name in BY_NAME.items() if name in labels}
    known |= {label.lower(): (index,) for index, label in enumerate(labels)}
    wanted: dict[str, tuple[int, ...] | None] = {}
    unknown = []
    for word in words:
        key = word.strip().lower()
        if key in own:
            wanted[key] = own[key]
        elif key in known:
            wanted[key] = known[key]
        elif key:
            unknown.append(word)
    if unknown:
        raise CodesError(
            f"The codes {', '.join(sorted(unknown))} are none of the expressions "
            f"{', '.join(labels)}.",
            f'Say what each stands for: `map` "{sorted(unknown)[0]}=happiness", several joined by '
            '+, or "=-" for time that was not judged.',
        )
    return _with_classes(wanted, labels)


def _members(word: str, text: str, labels: Sequence[str]) -> tuple[int, ...] | None:
    if text.strip() == LEFT_OUT:
        return None
    names = [BY_NAME.get(part.strip().lower(), part.strip()) for part in text.split(_JOIN)]
    for name in names:
        if name not in labels:
            raise OptionError(
                f"`map` {word}={text}: {name} is not an expression of the model.",
                f"It has {', '.join(labels)}.",
            )
    return tuple(sorted({labels.index(name) for name in names}))


def _with_classes(
    wanted: Mapping[str, tuple[int, ...] | None], labels: Sequence[str]
) -> Vocabulary:
    """Number the classes: groups in the order of their first label, other labels alone.

    Raises:
        OptionError: A label is in two groups.
    """
    groups = {members: word for word, members in wanted.items() if members and len(members) > 1}
    grouped = [index for members in groups for index in members]
    singles = {m[0] for m in wanted.values() if m and len(m) == 1}
    if len(set(grouped)) < len(grouped) or singles & set(grouped):
        twice = next(i for i in grouped if grouped.count(i) > 1 or i in singles)
        raise OptionError(
            f"`map` uses {labels[twice]} both alone and in a group, or in two groups.",
            "Coders and model can be compared only on classes that do not overlap.",
        )
    alone: dict[tuple[int, ...], str] = {
        (index,): label for index, label in enumerate(labels) if index not in grouped
    }
    members = sorted([*groups, *alone])  # groups stand where their first label stands
    named = {**alone, **groups}
    return Vocabulary(
        tuple(named[own] for own in members),
        tuple(members),
        {word: None if own is None else members.index(own) for word, own in wanted.items()},
    )


def read_map(entries: Sequence[str]) -> dict[str, str]:
    """Read what --map takes: CODE=EXPRESSION, or a table with the columns code and expression.

    Raises:
        OptionError: An entry is neither.
        CodesError: The table cannot be read.
    """
    found: dict[str, str] = {}
    for entry in entries:
        word, sep, expression = entry.rpartition("=")
        if sep and word and expression:
            found[word] = expression
            continue
        path = Path(entry)
        if not path.is_file():
            raise OptionError(
                f"`map` {entry} is neither CODE=EXPRESSION nor a file.",
                'E.g. `map` smile=happiness, or `map` "off screen=-" for time not judged.',
            )
        found |= _table(path)
    return found


def _table(path: Path) -> dict[str, str]:
    try:
        header, lines = lines_of(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise CodesError(f"{path} cannot be read as UTF-8 text ({error}).") from error
    code, expression = column(header, ("code", "label")), column(header, ("expression", "class"))
    if code is None or expression is None:
        raise CodesError(
            f"{path} has the columns {', '.join(header)}.", "It needs code and expression."
        )
    for number, line in lines:
        if not line.get(code) or not line.get(expression):
            raise CodesError(f"{place(path, number)}: code and expression must not be empty.")
    return {line[code]: line[expression] for _, line in lines}
