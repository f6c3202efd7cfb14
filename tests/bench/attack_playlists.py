"""Playlists and files that refer to others, under strace: only the input is opened, no socket.

Every file stands beside a secret video and a FIFO. strace follows the processes of `annotate`, of a
batch, of `--shard` (which measures durations) and of `overlay`. Without strace the part is
skipped, and says so.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import sys
import tempfile
from pathlib import Path

from attack_report import Report
from attack_results import make_clip
from attack_runs import Runner

N, N_QUICK = 50, 10
_LIMIT_S = 15.0
_CALLS = "open,openat,openat2,creat,socket,connect,execve"
_OPENED = re.compile(r'^(\d+) +(?:open|openat|openat2|creat)\((?:[^"]*?)"((?:[^"\\]|\\.)*)"')
_CALLED = re.compile(r"^(\d+) +(socket|connect|execve)\((.*)")
_SECRETS = ("secret.mp4", "secret.ts", "secret.mkv", "secret.sub", "pipe.mp4", "img001.png")


def _m3u8(target: str) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n"


def _mpd(target: str) -> str:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4">'
        f'<Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL><SegmentList>'
        f'<Initialization sourceURL="{target}"/><SegmentURL media="{target}"/></SegmentList>'
        "</Representation></AdaptationSet></Period></MPD>"
    )


_SDP = ("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n")  # fmt: skip
_IDX = ("# VobSub index file, v7 (do not modify this line!)\nsize: 720x480\nlangidx: 0\n"
        "id: en, index: 0\ntimestamp: 00:00:00:000, filepos: 000000000\n")  # fmt: skip
_MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nsecret.ts\n"
_KEYED = ('#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="secret.ts"\n#EXTINF:1,\nsecret.ts\n'
          "#EXT-X-ENDLIST\n")  # fmt: skip
_MAPPED = '#EXTM3U\n#EXT-X-MAP:URI="secret.mp4"\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n'
_ABSOLUTE = "/etc/passwd"
_TEXTS = {
    "hls.m3u8": _m3u8("secret.ts"), "hls.mp4": _m3u8("secret.ts"), "master.m3u8": _MASTER,
    "key.m3u8": _KEYED, "map.m3u8": _MAPPED, "fifo.m3u8": _m3u8("pipe.mp4"),
    "http.m3u8": _m3u8("http://127.0.0.1:9/x.ts"), "passwd.m3u8": _m3u8(_ABSOLUTE),
    "file.m3u8": _m3u8("file:secret.ts"), "concat.m3u8": _m3u8("concat:secret.ts|secret.ts"),
    "blank.mkv": "\n" + _m3u8("secret.ts"), "bom.ts": "\ufeff" + _m3u8("secret.ts"),
    "list.ffconcat": "ffconcat version 1.0\nfile secret.mp4\n",
    "list.mp4": "ffconcat version 1.0\nfile secret.mp4\n",
    "pipe.ffconcat": "ffconcat version 1.0\nfile pipe.mp4\n",
    "loose.ffconcat": "# a comment\nffconcat version 1.0\nfile 'secret.mkv'\n",
    "manifest.mpd": _mpd("secret.mp4"), "manifest.mp4": _mpd("secret.mp4"),
    "web.mpd": _mpd("http://127.0.0.1:9/x.mp4"), "pipe.mpd": _mpd("pipe.mp4"),
    "session.sdp": _SDP, "session.mp4": _SDP, "secret.idx": _IDX, "secret.mov": _IDX,
    "cpl.xml": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/'
               '2067-3/2016"><Id>urn:uuid:x</Id></CompositionPlaylist>',
    "list.m3u": "secret.mp4\n", "list.pls": "[playlist]\nFile1=secret.mp4\n",
    "show.asx": '<asx version="3.0"><entry><ref href="secret.mp4"/></entry></asx>',
    "smil.smi": '<smil><body><video src="secret.mp4"/></body></smil>',
    "redirect.ram": "rtsp://127.0.0.1:9/x\n", "script.avs": 'FFVideoSource("secret.mp4")\n',
    "script.vpy": "import os\nos.open('secret.mp4', 0)\n", "link.url": "URL=http://127.0.0.1:9/\n",
    "filter.ffmeta": ";FFMETADATA1\ntitle=x\n", "asf.wmv": "[Reference]\r\nRef1=secret.mp4\r\n",
}  # fmt: skip
# What no file of that name stands behind: FFmpeg's protocols and patterns.
_NAMES = (
    "img%03d.png", "concat:secret.ts|secret.ts", "subfile,,start,0,end,0,,:secret.mp4",
    "http://127.0.0.1:9/x.mp4", "rtsp://127.0.0.1:9/x", "tcp://127.0.0.1:9", "file:secret.mp4",
    "pipe:0", "data:video/mp4;base64,AAAA", "crypto:secret.mp4", "glob*.png",
)  # fmt: skip


def dref(clip: bytes, target: str) -> bytes:
    """A MOV whose data are in another file."""
    alias = bytearray(150)
    name = target.encode()
    struct.pack_into(">H", alias, 4, 150)
    alias[50 : 51 + len(name)] = bytes([len(name)]) + name
    path = b"\x00\x02" + struct.pack(">H", len(name)) + name + b"\0" * (len(name) % 2)
    body = bytes(alias) + path + b"\x00\x12" + struct.pack(">H", len(name)) + name + b"\xff\xff\0\0"
    entry = struct.pack(">I4sI", 12 + len(body), b"alis", 0) + body
    box = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    at = clip.find(b"dref") - 4
    old = int.from_bytes(clip[at : at + 4], "big")
    data, grown = bytearray(clip[:at] + box + clip[at + old :]), len(box) - old
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        place = data.find(kind) - 4
        size = int.from_bytes(data[place : place + 4], "big") + grown
        data[place : place + 4] = size.to_bytes(4, "big")
    return bytes(data)


def make_files(folder: Path, demo: Path) -> list[str]:
    """Writes the hostile files and what they refer to; returns their names."""
    folder.mkdir()
    make_clip(demo, folder / "secret.mp4", slice(45, 51))
    data = (folder / "secret.mp4").read_bytes()
    for name in _SECRETS[1:]:
        if name == "pipe.mp4":
            os.mkfifo(folder / name)
            continue
        (folder / name).write_bytes(data)
    names = []
    for name, text in _TEXTS.items():
        (folder / name).write_text(text)
        names.append(name)
    make_clip(demo, folder / "plain.mov", slice(45, 51))
    plain = (folder / "plain.mov").read_bytes()
    for name, target in (
        ("dref.mov", "secret.mp4"),
        ("dref.mp4", "pipe.mp4"),
        ("dref2.mov", _ABSOLUTE),
    ):
        (folder / name).write_bytes(dref(plain, target))
        names.append(name)
    (folder / "plain.mov").unlink()
    return [*names, *_NAMES]


class Trace:
    """What strace has written since the last look."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0

    def lines(self) -> list[str]:
        """The new lines."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        self._at += len(data)
        return data.decode("utf-8", "replace").splitlines()


def wrong_calls(lines: list[str], folder: Path, allowed: set[str]) -> list[str]:
    """Calls that open something beside the input, or a socket."""
    found = []
    for line in lines:
        if opened := _OPENED.match(line):
            path = opened[2]
            # relative: of any working folder, so by name
            inside = path.startswith(str(folder)) or path.rpartition("/")[2] in _SECRETS
            system = path.startswith(("/etc/passwd", "/etc/shadow"))
            if (inside or system) and path not in allowed:
                found.append(line.partition(" ")[2][:200])
        elif (called := _CALLED.match(line)) and called[2] != "execve":
            if "AF_UNIX" not in called[3] or "socketpair" in line:
                found.append(line.partition(" ")[2][:200])
    return found


def attack(
    report: Report, demo: Path, *, n: int, seed: int, only: str = "", clips: Path | None = None
) -> None:
    """Gives every file to `annotate`, then all to a batch."""
    strace = shutil.which("strace")
    if strace is None:
        report.skipped = "strace is missing: nothing was checked"
        return
    with tempfile.TemporaryDirectory(prefix="attack-") as name:
        folder, log = Path(name) / "in", Path(name) / "strace.log"
        names = [one for one in make_files(folder, demo) if only in one]
        if n < len(names):
            names = [names[int((i + 0.5) * len(names) / n)] for i in range(n)]
        wrapper = (strace, "-f", "-qq", "--seccomp-bpf", "-s", "300", "-e", f"trace={_CALLS}",
                   "-e", "signal=none", "-o", str(log))  # fmt: skip
        report.figures["seen through"] = "strace"
        with Runner(limit_s=_LIMIT_S, wrapper=wrapper) as runner:
            runner.run("annotate", folder / "secret.mp4", "-o", folder.parent / "good.parquet",
                       limit_s=120)  # fmt: skip
            trace = Trace(log)
            trace.lines()
            for one in names:
                if report.over:
                    break
                _single(report, runner, trace, folder, one)
                report.cases += 1
            _many(report, runner, trace, folder, names)


def _single(report: Report, runner: Runner, trace: Trace, folder: Path, name: str) -> None:
    out, good = folder.parent / "out", folder.parent / "good.parquet"
    is_file = (folder / name).exists()
    given = str(folder / name) if is_file else name
    setup = f"import os; os.chdir({str(folder)!r})"
    for argv in (["annotate", given, "-o", f"{out}/x.parquet"],
                 ["overlay", given, str(good), "-o", f"{out}/x.mp4", "--force"]):  # fmt: skip
        out.mkdir(exist_ok=True)
        ended = runner.run(*argv, setup=setup)
        report.check(name, ended)
        if ended.code == 0 and not ended.stopped:
            report.add(name, "a reference file is annotated", ended.command, ended.error_text)
        for line in wrong_calls(trace.lines(), folder, {given, str(folder / name)}):
            report.add(name, "opens something beside the input", ended.command, line)
        shutil.rmtree(out)


def _many(report: Report, runner: Runner, trace: Trace, folder: Path, names: list[str]) -> None:
    """The same files in a batch, and measured by --shard; secrets are no inputs here."""
    # one per stem: releases up to 0.5 refuse a batch in which two results would have one name
    files = {Path(name).stem: str(folder / name) for name in names if (folder / name).exists()}
    given = list(files.values())
    many = f"{folder.parent}/many/"
    for options in (["--stall", "5", "--quiet"], ["--shard", "1/2", "--dry-run"]):
        argv = ["annotate", *given, "-o", many, *options]
        ended = runner.run(*argv, limit_s=60 + 3 * len(given))
        report.check("batch", ended)
        for line in wrong_calls(trace.lines(), folder, set(given)):
            report.add(
                "batch",
                "opens something beside the inputs",
                f"jadfer annotate FILES -o many/ {' '.join(options)}",
                line,
            )
    print(f"{len(names)} playlists", file=sys.stderr, flush=True)
