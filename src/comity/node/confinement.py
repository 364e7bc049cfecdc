"""What a task's process gives up before it does anything: resources, the network, and the sight of the node's folder.

Limits on memory and files are set on every system. The rest needs Linux's unprivileged user namespaces: in its own ones
a process has no network, sees of the node's folder what it needs and no keys, cannot signal or inspect a process
outside, and takes all that it has started with it when it ends. Where the system does not allow that, the process goes
on and says what is missing; `child` then runs nothing in it that came from outside, unless the owner wants it.

What remains either way: a process reads what its account can read outside the hidden folders, and reaches the sockets
that lie there; so run the node as a user of its own, which is in no group that could command a container engine.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_NOSUID, _NODEV, _BIND, _REC, _PRIVATE = 2, 4, 4096, 16384, 1 << 18
_SET_PDEATHSIG, _SET_NO_NEW_PRIVS = 1, 38
_MOUNT_SETATTR, _ATTR_RDONLY = 442, 1
_CAPABILITY_VERSION = 0x20080522
_MB = 1 << 20
_LIBRARIES = 6 << 30
"""Addresses for what libraries map and do not fill. What they fill counts under RLIMIT_DATA, unless it is shared."""

ALONE = "own namespaces"
HIDDEN = "hidden folders"


@dataclass(frozen=True)
class Cage:
    """How a process is confined.

    `memory_mb` bounds the memory that is each process's own; with what it shares it has 6 GB more. `file_mb` bounds a
    file, `processes` the processes and threads of this account, except for user 0, whom Linux does not count. What is
    in `hide` exists: a file there reads as empty, and of a folder is seen only what is in `read` and `write`, which
    are existing paths below it.
    """

    memory_mb: int = 4096
    file_mb: int = 4096
    processes: int = 256
    hide: Sequence[str] = field(default=())
    read: Sequence[str] = field(default=())
    write: Sequence[str] = field(default=())


def confine(cage: Cage) -> list[str]:
    """Confine this process, which has one thread and has not opened anything, for good.

    Returns which protections this system does not allow (`ALONE`, `HIDDEN`). Where namespaces are allowed this forks:
    it returns in a grandchild, and the processes in between end as it ends, with 128 + n for signal n.
    """
    missing = []
    try:
        _unshare()
    except OSError:
        missing = [ALONE, HIDDEN]
    else:
        try:
            _hide(cage)
        except OSError:
            missing = [HIDDEN]
        _drop_capabilities()
    _stay_unprivileged()
    _die_with_parent()
    if ALONE not in missing:
        for _ in range(2):  # the first child is the namespace's process 1, which default signals do not reach
            _follow(os.fork())
            _die_with_parent()
    _limit(cage, alone=ALONE not in missing)
    return missing


def limit_time(seconds: float) -> None:
    """Let this process have `seconds` more of processor time; at their end a signal ends it.

    Code can ignore that signal: what ends a task in any case is the clock of who has started it.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, hard))


def can_isolate() -> bool:
    """Whether this system allows what `confine` needs beyond limits; tried in a process of its own."""
    if sys.platform != "linux":
        return False
    with TemporaryDirectory() as shown:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                _unshare()
                _hide(Cage(hide=[os.path.dirname(shown)], read=[shown]))
                status = 0
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _limit(cage: Cage, *, alone: bool) -> None:
    memory = cage.memory_mb * _MB
    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 512,
        "RLIMIT_FSIZE": cage.file_mb * _MB,
        "RLIMIT_DATA": memory,
        "RLIMIT_AS": memory + _LIBRARIES,
        # Outside a namespace of its own a process shares this count with everything of its account.
        "RLIMIT_NPROC": cage.processes if alone else max(cage.processes, 4096),
    }
    for name, value in limits.items():
        kind = getattr(resource, name, None)
        if kind is not None:
            _, hard = resource.getrlimit(kind)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))


def _unshare() -> None:
    """Enter new namespaces in which this process is the user that it was."""
    if sys.platform != "linux":
        raise OSError("no namespaces here")
    user, group = os.geteuid(), os.getegid()
    _call("unshare", _NEWUSER | _NEWNS | _NEWNET | _NEWPID | _NEWIPC)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path(f"/proc/self/{name}").write_text(text)


def _hide(cage: Cage) -> None:
    """Cover each hidden folder with an empty one and each file with nothing, and show what shall be seen.

    What a kernel may lack comes first, so that everything is hidden or nothing is.
    """
    _mount(None, "/", None, _REC | _PRIVATE)
    for path in cage.read:
        _mount(path, path, None, _BIND | _REC)
        wanted = (ctypes.c_uint64 * 4)(_ATTR_RDONLY, 0, 0, 0)
        _call("syscall", _MOUNT_SETATTR, -100, path.encode(), 0, wanted, ctypes.sizeof(wanted))
    shown = [(path, os.open(path, os.O_PATH | os.O_NOFOLLOW)) for path in (*cage.write, *cage.read)]
    for hidden in cage.hide:
        if os.path.isdir(hidden):
            _mount("none", hidden, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=0700")
        else:
            _mount(os.devnull, hidden, None, _BIND)
    for path, handle in shown:
        source = f"/proc/self/fd/{handle}"
        if os.path.isdir(source):
            os.makedirs(path, exist_ok=True)
        elif not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(path).touch()
        _mount(source, path, None, _BIND | _REC)
        os.close(handle)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, data)]
    _call("mount", *texts[:3], ctypes.c_ulong(flags), texts[3])


def _stay_unprivileged() -> None:
    """No program that this process starts has more rights than it has, whatever its file says."""
    if sys.platform == "linux":
        _call("prctl", _SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _drop_capabilities() -> None:
    """Give up every capability in the new namespaces, so that what was done there cannot be undone."""
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    _call("capset", header, none)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        _call("prctl", _SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _follow(child: int) -> None:
    """In the parent, end as `child` does; in the child, return."""
    if child == 0:
        return
    for stream in (0, 1):
        os.close(stream)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _call(name: str, *arguments: object) -> None:
    """A function of the C library. Raises `OSError` where it returns -1."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
