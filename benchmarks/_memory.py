"""Time and memory of a piece of work, as Linux counts them for this process."""

from __future__ import annotations

import ctypes
import gc
import re
import threading
import time
from pathlib import Path

import pyarrow as pa


STATUS = Path("/proc/self/status")
EVERY = 0.02  # seconds between two looks at what only has a present value


class Watch:
    """Seconds and peak memory of what runs within, in MB.

    `own` is anonymous memory (RssAnon): what the process cannot give back. `mapped` is RssFile: pages of mapped files and
    libraries, which the operating system drops when others want the room. `peak` is both (VmHWM).
    """

    def __enter__(self):
        gc.collect()
        pa.default_memory_pool().release_unused()  # what an earlier step left would hide what this one takes
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
        self.before = memory()
        self.most = dict(self.before)
        self._done = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)
        self._looking.start()
        self.began = (time.perf_counter(), time.process_time())
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.began[0]
        self.processor_seconds = time.process_time() - self.began[1]
        self._done.set()
        self._looking.join()
        self._keep_most()
        self.after = memory()

    def _look(self) -> None:
        while not self._done.wait(EVERY):
            self._keep_most()

    def _keep_most(self) -> None:
        self.most = {name: max(value, self.most[name]) for name, value in memory().items()}

    @property
    def figures(self) -> dict[str, float]:
        """Seconds; own and mapped memory at the peak; and how much more than before, all in all and of its own."""
        return {
            "seconds": round(self.seconds, 3),
            "processor_seconds": round(self.processor_seconds, 3),
            "own_peak_mb": round(self.most["own"], 1),
            "mapped_peak_mb": round(self.most["mapped"], 1),
            "extra_peak_mb": round(self.most["peak"] - self.before["own"] - self.before["mapped"], 1),
            "extra_own_mb": round(self.most["own"] - self.before["own"], 1),
            "own_kept_mb": round(self.after["own"] - self.before["own"], 1),
        }


def memory() -> dict[str, float]:
    """MB this process holds now, its own and mapped, and its peak."""
    text = STATUS.read_text()
    names = {"own": "RssAnon", "mapped": "RssFile", "peak": "VmHWM"}
    return {name: int(re.search(rf"{field}:\s+(\d+)", text).group(1)) / 1024 for name, field in names.items()}
