"""One line on stderr that tells what is being measured."""

import sys
import time
from typing import TextIO


class Progress:
    """Overwrites its line on a terminal; elsewhere it writes one line a section."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty()
        self.started = time.perf_counter()
        self.section = ""

    def __call__(self, section: str, text: str = "") -> None:
        seconds = time.perf_counter() - self.started
        line = f"[{seconds:6.1f} s] {section}{': ' + text if text else ''}"
        if self.live:
            self.stream.write(f"\r\x1b[K{line[:100]}")
        elif section != self.section:
            self.stream.write(line + "\n")
        self.stream.flush()
        self.section = section

    def done(self) -> None:
        if self.live:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
