"""Memory and speed of `jadfer collect` on a large study.

    python tests/bench/collect.py RESULT.parquet --videos 300 --rows 47000

Makes results by repeating the rows of one real result under other names and hashes, collects
them with the installed command into a file and into a folder, and prints peak memory and time.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

KEY = b"PANDAS_ATTRS"


def make(source: Path, folder: Path, videos: int, rows: int) -> None:
    table = pq.read_table(source)
    table = pa.concat_tables([table] * (rows // len(table) + 1)).slice(0, rows)
    attrs = json.loads(table.schema.metadata[KEY])
    column = table.schema.get_field_index("video")
    for i in range(videos):
        attrs["jadfer"]["video"]["sha256"] = f"{i:064}"
        metadata = {**table.schema.metadata, KEY: json.dumps(attrs).encode()}
        name = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [f"{i}.mp4"])
        out = table.set_column(column, table.schema.field("video"), name)
        pq.write_table(out.replace_schema_metadata(metadata), folder / f"{i}.parquet",
                       compression="zstd", row_group_size=50_000)  # fmt: skip


def measure(folder: Path, out: Path) -> None:
    began_s = time.monotonic()
    command = [Path(sys.executable).with_name("jadfer"), "collect", folder, "-o", out]
    process = subprocess.Popen([os.fspath(part) for part in command])
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    seconds = time.monotonic() - began_s
    print(f"{out.name}: {seconds:.1f} s, peak {used.ru_maxrss / 1024:.0f} MB resident")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path)
    parser.add_argument("--videos", type=int, default=300)
    parser.add_argument("--rows", type=int, default=47_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text) / "results"
        folder.mkdir()
        make(args.result, folder, args.videos, args.rows)
        megabytes = sum(p.stat().st_size for p in folder.iterdir()) / 1e6
        print(f"{args.videos} results of {args.rows:,} rows, {megabytes:.0f} MB")
        measure(folder, Path(text) / "all.parquet")
        measure(folder, Path(text) / "all")
    print(f"this script: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
