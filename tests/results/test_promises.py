"""What users' scripts rely on stays, as examples/guides/installing.md promises from 0.6.0 on.

`promises.json` holds the columns and the properties of the metadata of released versions, and
`options.json` their commands and options. Add what is new by
`python tests/results/test_promises.py`, which never removes anything. Only a new `schema_version`
may, and version 1.0 for commands and options.
"""

import json
from pathlib import Path

import pandas as pd
from made import Made, Track
from typer.main import get_command

from jadfer_cli.cli import app
from jadfer_cli.results.metadata_schema import metadata_schema
from jadfer_cli.results.rows_schema import rows_schema, stored_rows_schema
from jadfer_cli.results.schema import SCHEMA_VERSION

KEPT = Path(__file__).with_name("promises.json")
KEPT_OPTIONS = Path(__file__).with_name("options.json")


def columns() -> dict[str, list[str]]:
    """Each column with its types and unit."""
    return {
        field["name"]: [field["type"], field["arrowType"], field.get("unit", "")]
        for field in rows_schema()["fields"]
    }


def properties(schema: dict, place: str = "") -> dict[str, object]:
    """Each property of the metadata, dotted, with its type."""
    found: dict[str, object] = {}
    for name, inner in schema.get("properties", {}).items():
        found[place + name] = inner.get("type", "any")
        found |= properties(inner, f"{place}{name}.")
    return found


def options() -> dict[str, dict[str, str]]:
    """Each option of each command, by all its names: "flag", "value" or "values"."""
    found: dict[str, dict[str, str]] = {}

    def add(name, command) -> None:
        own = found.setdefault(name, {})
        for each in command.params:
            if each.param_type_name != "option":
                continue
            kind = "flag" if each.is_flag else "values" if each.multiple else "value"
            own |= dict.fromkeys((*each.opts, *each.secondary_opts), kind)
        for child, inner in getattr(command, "commands", {}).items():
            if name != "jadfer":
                add(f"{name} {child}", inner)

    add("jadfer", get_command(app.app))
    for name in app.COMMANDS:
        add(f"jadfer {name}", app.load(name))
    return {name: dict(sorted(own.items())) for name, own in sorted(found.items())}


def vanished(kept: dict, now: dict) -> list[str]:
    """What was promised and is no more: a command, an option, or whether it takes a value."""
    lost = [name for name in kept if name not in now]
    for name in kept.keys() & now.keys():
        for option, kind in kept[name].items():
            if option not in now[name]:
                lost.append(f"{name} {option}")
            elif (kind, now[name][option]) not in {(kind, kind), ("value", "values")}:
                lost.append(f"{name} {option} (was a {kind}, is a {now[name][option]})")
    return sorted(lost)


def test_no_promised_command_or_option_has_vanished():
    kept, now = json.loads(KEPT_OPTIONS.read_text("utf-8")), options()
    assert not (lost := vanished(kept, now)), f"promised for 0.6 and later, and gone: {lost}"
    new = vanished(now, kept)
    assert not new, f"new: {new}; run python tests/results/test_promises.py"


def test_a_vanished_option_is_named():
    kept = {"jadfer a": {"--x": "value", "--y": "flag"}, "jadfer b": {"-o": "value"}}
    now = {"jadfer a": {"--x": "values", "--y": "value", "--z": "flag"}, "jadfer c": {}}
    assert vanished(kept, now) == ["jadfer a --y (was a flag, is a value)", "jadfer b"]
    assert vanished(kept, {"jadfer a": {"--y": "flag"}, "jadfer b": {"-o": "value"}}) == [
        "jadfer a --x"
    ]


def test_the_schema_of_the_rows_is_that_of_the_program():
    assert stored_rows_schema() == rows_schema(), "run python tests/results/test_promises.py"


def test_nothing_that_was_promised_has_changed():
    kept = json.loads(KEPT.read_text("utf-8"))
    assert kept["schema_version"] == SCHEMA_VERSION, "a new schema_version starts a new file"
    now = {"columns": columns(), "metadata": properties(metadata_schema())}
    for part, promised in now.items():
        changed = {k: v for k, v in kept[part].items() if promised.get(k) != v}
        assert not changed, (
            f"{part}: {changed} was promised, and is {promised.get(next(iter(changed)))}"
        )
        missing = promised.keys() - kept[part].keys()
        assert not missing, f"{part}: new: {missing}; run python tests/results/test_promises.py"
    assert kept["order"] == [name for name in columns() if name in kept["order"]]


def test_written_rows_follow_the_schema(tmp_path):
    cut_off = Track(1, [2, 3], "anger", reason="cut_off")
    path = Made([Track(0, [0, 1, 3], "happiness"), cut_off], n_frames=6).write(
        tmp_path / "r.parquet"
    )
    rows = pd.read_parquet(path)
    table = tmp_path / "r.csv"
    rows.to_csv(table, index=False)
    read = pd.read_csv(
        table, keep_default_na=False, na_values=stored_rows_schema()["missingValues"]
    )
    fields = stored_rows_schema()["fields"]
    assert list(read.columns) == [field["name"] for field in fields]
    for field in fields:
        values, rules = read[field["name"]].dropna(), field.get("constraints", {})
        assert not rules.get("required") or len(values) == len(read), field["name"]
        if field["type"] in ("integer", "number"):
            values = pd.to_numeric(values)  # raises on anything else
        if field["type"] == "integer":
            assert (values == values.astype(int)).all(), field["name"]
        if field["type"] == "boolean":
            assert set(values.astype(str)) <= {"True", "False"}, field["name"]
        if "enum" in rules:
            assert set(values) <= set(rules["enum"]), field["name"]
        assert not len(values) or values.min() >= rules.get("minimum", values.min())
        assert not len(values) or values.max() <= rules.get("maximum", values.max())
    key = stored_rows_schema()["uniqueKeys"][0]
    assert not read[key].duplicated().any()


if __name__ == "__main__":
    import jadfer_cli.results.rows_schema as program

    target = Path(program.__file__).with_name("rows.schema.json")
    target.write_text(json.dumps(rows_schema(), indent=2) + "\n", "utf-8")
    new = {"columns": columns(), "metadata": properties(metadata_schema())}
    old = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {"columns": {}, "metadata": {}}
    both = {part: found | old[part] for part, found in new.items()}
    kept = {"schema_version": SCHEMA_VERSION, "order": list(columns()), **both}
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    kept = json.loads(KEPT_OPTIONS.read_text("utf-8")) if KEPT_OPTIONS.exists() else {}
    now = options()
    both = {name: now.get(name, {}) | kept.get(name, {}) for name in sorted(kept.keys() | now)}
    KEPT_OPTIONS.write_text(json.dumps(both, indent=1) + "\n", "utf-8")
