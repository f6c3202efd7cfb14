"""A headless Chromium, driven over its debugging pipe, for tests of HTML pages.

JADFER_CHROMIUM names the program, e.g. Debian's /usr/bin/chromium or Playwright's headless shell.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio",
    "--remote-debugging-pipe", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip


def chromium_or_skip() -> str:
    """The program, or a skipped test."""
    named = os.environ.get("JADFER_CHROMIUM")
    found = named or shutil.which("chromium") or shutil.which("google-chrome")
    if not found or not os.access(found, os.X_OK):
        pytest.skip(f"no Chromium ({named or 'none on PATH'}); set JADFER_CHROMIUM")
    return found


class Browser:
    """One page in a headless Chromium.

    Attributes:
        problems: Messages on the console, exceptions, and requests other than file: and blob:.
    """

    def __init__(self) -> None:
        program = chromium_or_skip()
        self._profile = tempfile.mkdtemp(prefix="jadfer-chromium-")
        (to_read, self._out), (self._in, to_write) = os.pipe(), os.pipe()
        command = [program, *_FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        # Chromium reads commands from descriptor 3 and writes answers to 4
        script = f'exec 3<&{to_read} 4>&{to_write}; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", *command], pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._number, self._session = b"", 0, None
        self.problems: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method: str, **params: Any) -> Any:
        """Give a command of the DevTools protocol, and return its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _receive(self) -> Any:
        while b"\0" not in self._buffer:
            data = os.read(self._in, 1 << 20)
            assert data, "Chromium ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event: Any) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"])[:500])
        elif event.get("method") == "Log.entryAdded":
            self.problems.append(params["entry"]["text"])
        elif event.get("method") == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "blob:", "about:")):
                self.problems.append(f"request {url[:200]}")

    def open(self, page: Path, width: int = 1280, height: int = 800, fragment: str = "") -> None:
        """Open a page from its file, and wait until its video can be shown."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
            mobile=width < 600,
        )  # fmt: skip
        self.send("Page.navigate", url=page.resolve().as_uri() + fragment)
        self.wait("document.readyState === 'complete'")
        self.wait("video.readyState >= 2 || video.error !== null")
        time.sleep(0.3)

    def evaluate(self, code: str) -> Any:
        """Return the value of a JavaScript expression in the page; promises are awaited."""
        found = self.send(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, (code, found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = 20) -> None:
        """Wait until a JavaScript expression is true."""
        until = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < until, f"not within {seconds} s: {condition}"
            time.sleep(0.05)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 if shift else 0)

    def click(self, x: float, y: float) -> None:
        """Click at a point of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.send(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1,
                buttons=1 if kind == "mousePressed" else 0,
            )  # fmt: skip

    def rectangle(self, selector: str) -> list[float]:
        """Left, top, width and height of an element."""
        return self.evaluate(
            f"(r => [r.left, r.top, r.width, r.height])"
            f"(document.querySelector({selector!r}).getBoundingClientRect())"
        )

    def screenshot(self, rectangle: list[float] | None = None) -> np.ndarray:
        """The window, or a part of it, as uint8 RGB (height, width, 3)."""
        more = {}
        if rectangle:
            x, y, width, height = rectangle
            more["clip"] = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
        png = self.send("Page.captureScreenshot", format="png", **more)["data"]
        bgr = cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_COLOR)
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
