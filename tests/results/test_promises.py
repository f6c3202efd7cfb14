"""What users' scripts rely on stays, as examples/guides/installing.md promises from 0.6.0 on.

`promises.json` holds the columns and the properties of the metadata of released versions. Add what
is new by `python tests/results/test_promises.py`, which never removes anything. Only a new
`schema_version` may.
"""

import json
from pathlib import Path

import pandas as pd
from made import Made, Track

from jadfer_cli.results.metadata_schema import metadata_schema
from jadfer_cli.results.rows_schema import rows_schema, stored_rows_schema
from jadfer_cli.results.schema import SCHEMA_VERSION

KEPT = Path(__file__).with_name("promises.json")


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
