"""Take limits, then become another program: `python limits.py SECONDS MEGABYTES FILE_BYTES -- PROGRAM …`.

A script of its own, and not a function in a child of this process, because between fork and exec a process with threads
may do hardly anything. It is run by its path and imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_FILES = 64


def main() -> None:
    """The command; see the module."""
    seconds, megabytes, file_bytes = map(int, sys.argv[1:4])
    for what, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, megabytes << 20),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, _FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: end with who started this
    os.execv(sys.argv[5], sys.argv[5:])


if __name__ == "__main__":
    main()
