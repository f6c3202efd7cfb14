"""Text that is safe to print, to write into a table or into XML; and numbers with their nouns.

File names, labels and metadata come from others. A terminal obeys control characters in them
(ESC ] 52 sets the clipboard), and a spreadsheet runs cells that look like formulas.
"""

from __future__ import annotations

import json
import re
from typing import Any, TextIO

# C0 and C1 control characters, line separators, bidirectional overrides and isolates, and the
# surrogates that stand for undecodable bytes of a file name
_UNSAFE = "\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE_LINE = re.compile(f"[{_UNSAFE}]")
_UNSAFE_TEXT = re.compile(f"(?![\t\n])[{_UNSAFE}]")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAMED = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}
# The full-width forms count, too: spreadsheets convert them.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def count_text(n: int, noun: str) -> str:
    """Return a number with its noun: "1 row", "2,300 rows"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def people_text(n: int) -> str:
    """Return a number of people: "1 person", "2 people"."""
    return f"{n:,} {'person' if n == 1 else 'people'}"


def printable(text: str) -> str:
    r"""Return text in which no character controls the terminal; line breaks and tabs stay.

    Control characters and bidirectional overrides are shown as escapes, such as \x1b.
    """
    return _UNSAFE_TEXT.sub(_escape, text)


def one_line(text: str) -> str:
    r"""Return text as `printable` does, with line breaks and tabs shown as \n and \t."""
    return _UNSAFE_LINE.sub(_escape, text)


def xml_safe(text: str) -> str:
    r"""Return text without characters that XML 1.0 forbids; they are shown as escapes, as \x1b."""
    return _NOT_XML.sub(_escape, text)


def encodable(text: str) -> str:
    """Return text that UTF-8 can hold: U+FFFD in place of each undecodable byte of a file name."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def spreadsheet_safe(text: str) -> str:
    """Return the text of a cell, after an apostrophe if a spreadsheet would take it for a formula.

    To get the original back, remove one apostrophe from cells in which apostrophes are followed
    by = + - @, a tab or a line break. See https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return JSON that is readable and safe on a terminal: it escapes what `one_line` escapes."""
    return escaped_json(json.dumps(value, indent=indent, ensure_ascii=False))


def escaped_json(text: str) -> str:
    """Return JSON with escapes for what `one_line` escapes, except between its entries."""
    # outside its strings, JSON has no such characters but line breaks
    return re.sub(f"(?!\n)[{_UNSAFE}]", lambda found: f"\\u{ord(found[0]):04x}", text)


def json_for(file: TextIO, text: str) -> str:
    """Return JSON that a stream can write in its encoding, as on Windows that of the country.

    Args:
        file: The stream; without it, a letter that it lacks would become an escape of Python.
        text: The JSON.
    """
    try:
        text.encode(file.encoding or "utf-8")
    except UnicodeEncodeError:
        return re.sub("[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    return text


def parsed_json(text: str | bytes, **options: Any) -> Any:
    """Return what a JSON text says.

    Args:
        text: The JSON.
        options: As of `json.loads`.

    Raises:
        ValueError: It is not JSON, or is nested too deeply to be read.
    """
    try:
        return json.loads(text, **options)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def without_subject(message: str, path: str) -> str:
    """Return what a message says about a file, to stand after the file's name.

    "a.mp4: no video" gives "no video", and "a.mp4 is empty." gives "it is empty."
    """
    if message.startswith(f"{path}: "):
        return message.removeprefix(f"{path}: ")
    return f"it {message.removeprefix(f'{path} ')}" if message.startswith(f"{path} ") else message


def shortened(text: str, width: int) -> str:
    """Return text of at most `width` characters, with an ellipsis in its middle if it was longer.

    Both ends of a file name tell files apart, so the middle is left out.
    """
    if len(text) <= width:
        return text
    head = max(width - 1, 1) // 2
    return text[:head] + "…" + text[len(text) - (width - 1 - head) :]


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that is no valid text
        code -= 0xDC00
    return _NAMED.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
