# SPDX-License-Identifier: GPL-2.0
"""Commands on an emulated host: the driver's end of host/agent.c."""
import struct
import threading
import time

from . import paths
from .channel import connect

HEADER = struct.Struct("<III")


class HostDied(Exception):
    """The emulated host is gone."""


class CommandFailed(Exception):
    def __init__(self, result):
        super().__init__(str(result))
        self.result = result


class Result:
    """How a command ended: code (128 + signal if killed), out, err."""

    def __init__(self, host, command, code, out, err):
        self.host, self.command, self.code, self.out, self.err = host, command, code, out, err

    def __str__(self):
        said = (self.err or self.out).strip()
        return f"host {self.host}: `{self.command}` ended with {self.code}: {said}"


class Job:
    """A command that runs. on_line, if given, gets (time, line) of its stdout."""

    def __init__(self, agent, number, command, on_line=None):
        self.agent, self.number, self.command = agent, number, command
        self.out, self.err = bytearray(), bytearray()
        self.code = None
        self.ended_at = None
        self.died = False
        self._on_line = on_line
        self._rest = b""
        self._over = threading.Event()

    def _frame(self, kind, payload):
        if kind == "O":
            self.out += payload
            if self._on_line:
                *lines, self._rest = (self._rest + payload).split(b"\n")
                for line in lines:
                    self._on_line(time.monotonic(), line.decode("utf-8", "replace"))
        elif kind == "E":
            self.err += payload
        elif kind == "X":
            self.code = struct.unpack("<i", payload)[0]
            self.ended_at = time.monotonic()
            self._over.set()

    def _host_gone(self):
        self.died = True
        self._over.set()

    @property
    def running(self):
        return not self._over.is_set()

    def wait(self, timeout=None):
        """Its Result; TimeoutError when it still runs by then."""
        if not self._over.wait(timeout):
            raise TimeoutError(f"host {self.agent.name}: `{self.command}` "
                               f"still runs after {timeout} s")
        if self.died:
            raise HostDied(f"host {self.agent.name} died during `{self.command}`")
        return Result(self.agent.name, self.command, self.code,
                      self.out.decode("utf-8", "replace"),
                      self.err.decode("utf-8", "replace"))

    def write(self, data):
        for at in range(0, len(data), 65536):
            self.agent.send("I", self.number, data[at:at + 65536])

    def close_input(self):
        self.agent.send("I", self.number, b"")

    def kill(self, signal=15):
        if self.running:
            self.agent.send("K", self.number, struct.pack("<I", signal))


class Agent:
    def __init__(self, name, pump, path, alive):
        self.name = name
        self._sock = connect(path, 20, alive)
        self._buffer = b""
        self._jobs = {}
        self._next = 1
        self._lock = threading.Lock()
        self._up = threading.Event()
        self.dead = False
        pump.add(self._sock, self._on_data, self._on_end)

    def wait_up(self, timeout):
        if not self._up.wait(timeout):
            raise TimeoutError(f"host {self.name}: no agent after {timeout} s "
                               "(its kernel log tells more)")
        if self.dead:
            raise HostDied(f"host {self.name} died while it started "
                           "(its kernel log tells more)")

    def send(self, kind, number, payload):
        frame = HEADER.pack(len(payload), number, ord(kind)) + payload
        try:
            with self._lock:
                self._sock.sendall(frame)
        except OSError as error:
            raise HostDied(f"host {self.name} is gone") from error

    def _on_data(self, data):
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            size, number, kind = HEADER.unpack_from(self._buffer)
            if len(self._buffer) < HEADER.size + size:
                return
            payload = self._buffer[HEADER.size:HEADER.size + size]
            self._buffer = self._buffer[HEADER.size + size:]
            if chr(kind) == "H":
                self._up.set()
                continue
            job = self._jobs.get(number)
            if job:
                if chr(kind) == "X":
                    del self._jobs[number]
                job._frame(chr(kind), payload)

    def _on_end(self):
        self.dead = True
        self._up.set()
        for job in list(self._jobs.values()):
            job._host_gone()

    def start(self, command, on_line=None):
        """Run a shell command; its Job."""
        if self.dead:
            raise HostDied(f"host {self.name} is gone")
        with self._lock:
            number, self._next = self._next, self._next + 1
        job = Job(self, number, command, on_line)
        self._jobs[number] = job
        self.send("R", number, command.encode())
        return job

    def run(self, command, timeout=60, check=True, stdin=b""):
        """Run a shell command to its end; its Result."""
        job = self.start(command)
        if stdin:
            job.write(stdin)
        job.close_input()
        try:
            result = job.wait(paths.SLOWNESS * timeout)
        except TimeoutError:
            job.kill(9)
            raise
        if check and result.code:
            raise CommandFailed(result)
        return result
