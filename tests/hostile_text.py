"""Texts of an attacker, and checks that they do no harm on a terminal or in a spreadsheet."""

import csv
import re

# sets the clipboard, clears the screen, hides text, C1's own CSI, a bidirectional override
ATTACK = "\x1b]52;c;cm0gLXJm\x07\x1b[2J\x1b[8m\x9b31m\u202egpj.4pm"
# what rich prints on a terminal: colours, and what redraws a progress bar
COLOUR = re.compile("\x1b\\[(?:[0-9;]*m|\\?25[hl]|1A|2K)|\r")
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
FORMULA = "=HYPERLINK(1)"


def metadata(text):
    model = {
        "name": text, "sha256": "1" * 64, "preview": True, "terms": text, "temperature": 1.1,
        "metrics": {},
    }  # fmt: skip
    detector = {"name": text, "kind": text, "path": text, "sha256": "2" * 64, "terms": text,
                "provider": text}  # fmt: skip
    return {"model": model, "detector": detector, "warnings": [text], "device_name": text,
            "jadfer_version": text}  # fmt: skip


def check_safe(*texts):
    for text in texts:
        assert not (found := UNSAFE.search(COLOUR.sub("", text))), repr(text[found.start() - 20 :])
        assert "\x1b[8m" not in text and "\x1b[2J" not in text


def cells(path, delimiter):
    with open(path, encoding="utf-8", newline="") as file:
        return [cell for row in csv.reader(file, delimiter=delimiter) for cell in row]


def check_no_formula(found):
    formulas = [c for c in found if c[:1] in "=+-@\t\r\n" and c and not re.match(r"-?\d", c)]
    assert not formulas, formulas[:5]
