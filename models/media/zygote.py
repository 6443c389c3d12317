"""A fork server: it has PyAV and numpy loaded, and forks one confined child per job in a few milliseconds.

Not multiprocessing's: that one imports `__main__` again, which in a Ray replica is Ray's whole worker. This process
is started with an empty environment, stays single-threaded and never touches media itself.

Over the control channel (SOCK_SEQPACKET) come jobs: JSON with three descriptors (the job's own channel, the media, the
ring). On the job's channel the zygote sends one message itself, the last: how the child ended.
"""

import contextlib
import gc
import io
import json
import os
import select
import signal
import socket
import sys
from typing import Any

import av

from models.media import child
from models.media.decode import decode
from models.media.facts import Request
from models.media.limits import VIDEO_CODECS, Limits

_PARENT_CHECK_MS = 5000  # how soon it is noticed that the parent died while a process it forked kept the channel open


class _Zygote:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._parent = os.getppid()
        self._jobs: dict[int, tuple[int, socket.socket]] = {}  # channel descriptor -> child's pid, channel
        self._wakeup, wake = socket.socketpair()
        wake.settimeout(0)
        self._wakeup.settimeout(0)
        self._wake = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._poll.register(self._wakeup, select.POLLIN)

    def serve(self) -> None:
        """Fork and reap until the parent is gone."""
        while True:
            ready = self._poll.poll(_PARENT_CHECK_MS)
            for fd, _ in ready:
                if fd == self._control.fileno():
                    if not self._accept():
                        return
                elif fd == self._wakeup.fileno():
                    self._reap()
                elif fd in self._jobs:
                    self._kill(fd)
            if os.getppid() != self._parent:
                return

    def _accept(self) -> bool:
        message, fds, _, _ = socket.recv_fds(self._control, child.MESSAGE_BYTES, 3)
        if not message:
            return False
        try:
            pid = os.fork()
        except OSError:  # no memory or no process number left: this job fails, the others go on
            pid = -1
        if pid == 0:
            _run_and_exit(json.loads(message), fds)
        channel = socket.socket(fileno=fds[0])
        for fd in fds[1:]:
            os.close(fd)
        if pid < 0:
            self._farewell(channel, 1)
            return True
        self._jobs[channel.fileno()] = pid, channel
        # No event asked for: only the hang-up is reported, when the parent has closed its end.
        self._poll.register(channel, 0)
        return True

    def _kill(self, fd: int) -> None:
        pid, _ = self._jobs[fd]
        self._poll.unregister(fd)
        os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._drained():
            pass
        for fd, (pid, channel) in list(self._jobs.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._jobs[fd]
                self._farewell(channel, os.waitstatus_to_exitcode(status))

    def _drained(self) -> bytes:
        try:
            return self._wakeup.recv(4096)
        except BlockingIOError:
            return b""

    def _farewell(self, channel: socket.socket, exitcode: int) -> None:
        with contextlib.suppress(KeyError):  # killed before
            self._poll.unregister(channel)
        with channel, contextlib.suppress(OSError):  # perhaps nobody listens any more
            channel.send(json.dumps({"kind": "exit", "exitcode": exitcode}).encode(), socket.MSG_DONTWAIT)


def _run_and_exit(job: dict[str, Any], fds: list[int]) -> None:
    code = 1
    try:
        child.run(job, *fds)
        code = 0
    finally:
        os._exit(code)  # not sys.exit: nothing of the zygote may run twice


def _warm() -> None:
    """Do once what every child would otherwise do first: build the decoders' tables, and decode a clip of our own."""
    for name in sorted(VIDEO_CODECS):
        av.CodecContext.create(name, "r").open()
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as clip:
        stream = clip.add_stream("mjpeg", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p"
        for _ in range(4):
            clip.mux(stream.encode(av.VideoFrame(64, 64, "yuvj420p")))
        clip.mux(stream.encode())
    for _ in decode(file, Request(counts=(2, 3), threads=1), Limits()):
        pass


def main() -> None:
    """Serve on the channel whose descriptor is the only argument."""
    _warm()
    gc.collect()
    gc.freeze()  # what is loaded stays loaded: children need not copy its pages to look at it
    _Zygote(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
