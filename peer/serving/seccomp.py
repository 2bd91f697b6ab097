"""Which system calls a plugin may not make, as a program for the kernel's filter: new processes and threads, other
processes' memory, sockets, memory that no limit counts, and what changes the sandbox itself.

Method: seccomp-BPF (https://docs.kernel.org/userspace-api/seccomp_filter.html), classic BPF instructions of 8 bytes.
"""

from __future__ import annotations

import platform
import struct

# Linux' numbers: x86_64, aarch64. The two differ in the older ones only; -1: there is none.
_DENIED = {
    "fork": (57, -1), "vfork": (58, -1), "clone": (56, 220), "clone3": (435, 435),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268),
    "open_by_handle_at": (304, 265), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "mount_setattr": (442, 442), "personality": (135, 92),
    "io_setup": (206, 0), "inotify_init": (253, -1), "inotify_init1": (294, 26),
}  # fmt: skip
_SOCKET = (41, 198)
_PAIR = (53, 199)  # socketpair: leads nowhere, and asyncio needs it, so it is refused with all other sockets only
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # place above, and as the kernel names it
_INET = (2, 10)  # families of sockets that a plugin with the network may open: IPv4 and IPv6, and no local ones

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # the second: EPERM
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # bytes into struct seccomp_data
_X32 = 0x40000000  # another numbering of the same calls


def program(network: bool, machine: str = platform.machine()) -> bytes:
    """The filter. Empty for an architecture whose numbers are not known here: the sandbox then stands without it."""
    if machine not in _ARCHITECTURES:
        return b""
    column, architecture = _ARCHITECTURES[machine]
    denied = [numbers[column] for numbers in _DENIED.values() if numbers[column] >= 0]
    lines = [
        _line(_LOAD, _ARCHITECTURE_AT),
        *_unless_equal(architecture, _KILL),
        _line(_LOAD, _NUMBER_AT),
        _line(_AT_LEAST, _X32, 0, 1),
        _line(_RETURN, _KILL),
        *(line for number in denied for line in _if_equal(number, _REFUSE)),
        *(_sockets(_SOCKET[column]) if network else _no_sockets(column)),
        _line(_RETURN, _ALLOW),
    ]
    return b"".join(lines)


def _sockets(number: int) -> list[bytes]:
    inet = [line for family in _INET for line in _if_equal(family, _ALLOW)]
    rest = [_line(_LOAD, _FIRST_ARGUMENT_AT), *inet, _line(_RETURN, _REFUSE)]
    return [_line(_EQUAL, number, 0, len(rest)), *rest]


def _no_sockets(column: int) -> list[bytes]:
    return [*_if_equal(_SOCKET[column], _REFUSE), *_if_equal(_PAIR[column], _REFUSE)]


def _if_equal(value: int, answer: int) -> list[bytes]:
    return [_line(_EQUAL, value, 0, 1), _line(_RETURN, answer)]


def _unless_equal(value: int, answer: int) -> list[bytes]:
    return [_line(_EQUAL, value, 1, 0), _line(_RETURN, answer)]


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction: jumps count lines from the next one."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
