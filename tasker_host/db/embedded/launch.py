"""Become a program of PostgreSQL that ends when the thread which started it does.

Run by its path, `python -I -S launch.py PARENT SIGNAL UID GID PROGRAM ARGUMENT…`, rather than as a function between
fork and exec: the host has threads, and Python code between the two can wait for ever for a lock which one of them
held. Uid -1: stay who we are. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    parent, death_signal, uid, gid = (int(argument) for argument in argv[1:5])
    program = argv[5:]
    if uid >= 0:
        # Before prctl: a change of identity takes its effect back.
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("tasker: the process that asked for PostgreSQL has ended")
    # Python ignores these two, and exec would hand that on.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.execv(program[0], program)  # noqa: S606 - a command of the host, without a shell


if __name__ == "__main__":
    try:
        main(sys.argv)
    except OSError as error:
        sys.exit(f"tasker: cannot start {sys.argv[5]}: {error}")
