"""Processes that outlive the one that starts them: begun, recognised, and ended without ever hitting a stranger's."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def spawn(command: list[str], variables: Mapping[str, str], log: int, told: str) -> int:
    """Start a process in a session of its own, and return its number.

    Args:
        command: program and arguments, which every user of the machine can read.
        variables: its whole environment.
        log: descriptor of the file that its output goes to.
        told: what it reads on its standard input: the place for secrets.
    """
    inner, outer = os.pipe()
    try:
        actions = [
            (os.POSIX_SPAWN_DUP2, inner, 0),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
            (os.POSIX_SPAWN_CLOSE, outer),
        ]
        pid = os.posix_spawn(command[0], command, dict(variables), file_actions=actions, setsid=True)
        os.write(outer, told.encode())
    finally:
        os.close(inner)
        os.close(outer)
    return pid


def started(pid: int) -> str | None:
    """When a process began, as boot and clock ticks: no later process of its number shares it. None if it has ended.

    >>> started(os.getpid()) == started(os.getpid()), started(0)
    (True, None)
    """
    with suppress(OSError, OverflowError):  # not our child
        os.waitpid(pid, os.WNOHANG)  # one that ended would stay as a zombie
    try:
        # After the name, which may itself hold spaces and parentheses, come the state and, 19 fields on, the start.
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        boot = (PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def stop(pid: int, patience_s: float) -> None:
    """End what `spawn` began, with its children: asked first, killed after `patience_s`; waits until all are gone."""
    if started(pid) is None:
        return
    for how in (signal.SIGTERM, signal.SIGKILL):
        # As long as one of a group lives, no other process gets the group's number.
        if not _lives(pid):
            return
        with suppress(ProcessLookupError):
            os.killpg(pid, how)
        end = time.monotonic() + patience_s
        while _lives(pid) and time.monotonic() < end:
            time.sleep(0.05)


def _lives(group: int) -> bool:
    """Whether any process of a group has not ended; one that nobody has waited for yet has."""
    with suppress(OSError):
        os.waitpid(group, os.WNOHANG)
    for path in PROC.glob("[0-9]*/stat"):
        with suppress(OSError):  # gone since
            state, _, number, *_ = path.read_text().rpartition(")")[2].split()
            if int(number) == group and state not in "ZX":
                return True
    return False
