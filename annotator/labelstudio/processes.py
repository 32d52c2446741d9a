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
    """End what `spawn` began, with its children: asked first, killed after `patience_s`; waits until it is gone."""
    begun = started(pid)
    for how, patience in ((signal.SIGTERM, patience_s), (signal.SIGKILL, patience_s)):
        if begun is None or started(pid) != begun:
            return
        try:
            os.killpg(pid, how)
        except ProcessLookupError:
            return
        end = time.monotonic() + patience
        while started(pid) == begun and time.monotonic() < end:
            time.sleep(0.05)
