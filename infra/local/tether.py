"""Runs a command that is to die with its parent: `tether.py PARENT SIGNAL COMMAND…` (Linux only).

A program of its own, since Python must not run code between fork and exec in a process with
threads. It becomes the command, so the process number stays the same.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Asks the kernel for the signal, then becomes the command."""
    parent, number, argv = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        # The parent died before the request was made, and no signal will come.
        sys.exit(1)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.exit(f"cannot start {argv[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
