"""A system-call filter for the confined child (seccomp-bpf, linux/seccomp.h): it may compute, and read what it holds.

Everything not listed fails with EPERM: opening files, sockets, starting programs, touching other processes. Code that
takes over the decoder is left with its own memory, the media, the ring and the channel to the parent, which trusts
nothing that comes out of it.
"""

import ctypes
import errno
import os
import platform
import struct

# Name: number on x86-64, number on AArch64 (None: that architecture has no such call). What CPython, glibc's threads
# and malloc, and FFmpeg's decoders were seen to use, and no more.
_ALLOWED: dict[str, tuple[int, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "exit": (60, 93),
    "gettimeofday": (96, 169),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "getppid": (110, 173),
    "sigaltstack": (131, 132),
    "arch_prctl": (158, None),
    "prctl": (157, 167),
    "gettid": (186, 178),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "set_robust_list": (273, 99),
    "getcpu": (309, 168),
    "getrandom": (318, 278),
    "membarrier": (324, 283),
    "rseq": (334, 293),
}
_CLONE, _CLONE3, _TGKILL = (56, 220), (435, 435), (234, 131)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, linux/audit.h

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # linux/bpf_common.h: ld abs, jeq, jset, ret
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # struct seccomp_data
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_CLONE_THREAD = 0x10000
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install(libc: ctypes.CDLL) -> bool:
    """Filter this process's system calls from here on. PR_SET_NO_NEW_PRIVS must be set.

    Returns:
        Whether the filter is in place; False on other architectures and on kernels without seccomp.
    """
    column, arch = _ARCHITECTURES.get(platform.machine(), (0, 0))
    if not arch:
        return False
    code = _instructions(column, arch)
    program = _Program(len(code) // 8, code)
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _instructions(column: int, arch: int) -> bytes:
    """The filter: eight bytes per instruction (struct sock_filter)."""
    allow, refuse = _op(_RETURN, _ALLOW), _op(_RETURN, _FAIL | errno.EPERM)
    lines = [_op(_LOAD, _ARCH_AT), _op(_EQUAL, arch, 1, 0), refuse, _op(_LOAD, _NUMBER_AT)]
    for numbers in _ALLOWED.values():
        number = numbers[column]
        if number is not None:
            lines += [_op(_EQUAL, number, 0, 1), allow]
    # clone3 keeps its flags where a filter cannot look; without it glibc makes threads with clone.
    lines += [_op(_EQUAL, _CLONE3[column], 0, 1), _op(_RETURN, _FAIL | errno.ENOSYS)]
    # Threads, but no processes; signals to itself (abort), but to nobody else.
    lines += [_op(_EQUAL, _CLONE[column], 0, 4), _op(_LOAD, _FIRST_ARGUMENT_AT)]
    lines += [_op(_ANY_BIT, _CLONE_THREAD, 0, 1), allow, refuse]
    lines += [_op(_EQUAL, _TGKILL[column], 0, 3), _op(_LOAD, _FIRST_ARGUMENT_AT), _op(_EQUAL, os.getpid(), 0, 1), allow]
    return b"".join([*lines, refuse])


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
