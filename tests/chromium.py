"""A page in Chromium without a window, driven by the DevTools protocol through a pipe: no driver, no port."""

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# Chromium looks for its pipes there. Both are copied out of the way first, for they may be 3 or 4 themselves.
AS_3_AND_4 = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 5) for number in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
PATIENCE = 60  # seconds that it may be silent


class Page:
    """One page, and all that it complained of."""

    def __init__(self, send: int, receive: int):
        self.send, self.receive = send, receive
        self.numbers = count(1)
        self.session: str | None = None
        self.unread = b""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.send, json.dumps(message).encode() + b"\0")
        while (answer := self.next()).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def next(self) -> dict[str, Any]:
        """The next message; what the page complains of or asks the network for is kept."""
        while b"\0" not in self.unread:
            assert select.select([self.receive], [], [], PATIENCE)[0], "Chromium does not answer"
            received = os.read(self.receive, 1 << 20)
            assert received, "Chromium has ended"
            self.unread += received
        line, _, self.unread = self.unread.partition(b"\0")
        message = json.loads(line)
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(params["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        return message

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show a file, and wait until it says that it is `ready`."""
        self.complaints.clear()
        self.requests.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.resolve().as_uri())
        while self.next().get("method") != "Page.loadEventFired":
            pass
        self.run("ready.then(() => true)")

    def run(self, script: str) -> Any:
        """The value of an expression in the page; of a promise, what it promised."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code="Space" if key == " " else key)

    def point(self, x: float, y: float, kind: str = "mouseMoved") -> None:
        held = {"button": "left", "buttons": 1, "clickCount": 1} if kind != "mouseMoved" else {}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)

    def wait(self, milliseconds: int) -> None:
        self.run(f"new Promise((done) => setTimeout(done, {milliseconds}))")


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A page of a Chromium that ends with the block."""
    assert CHROMIUM is not None
    to_read, send = os.pipe()
    receive, to_write = os.pipe()
    browser = subprocess.Popen(
        [
            *(sys.executable, "-c", AS_3_AND_4, str(to_read), str(to_write)),
            CHROMIUM,
            "--headless",
            "--no-sandbox",  # which root may not have
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ],
        pass_fds=(to_read, to_write),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(to_write)
    try:
        yield Page(send, receive)
    finally:
        browser.terminate()
        browser.wait(30)
        os.close(send)
        os.close(receive)
