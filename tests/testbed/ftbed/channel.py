# SPDX-License-Identifier: GPL-2.0
"""Byte streams of the emulators, read as they come, with arrival times.

One thread (Pump) reads everything: an emulator whose output nobody takes
stops, and a stopped host looks just like a broken one.
"""
import os
import re
import selectors
import socket
import threading
import time


class Pump:
    """Calls back for each readable stream, from one thread."""

    def __init__(self):
        self._selector = selectors.DefaultSelector()
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        self._selector.register(self._wake_r, selectors.EVENT_READ, None)
        self._orders = []
        self._lock = threading.Lock()
        self._running = True
        self._thread = threading.Thread(target=self._loop, name="pump", daemon=True)
        self._thread.start()

    def _order(self, action):
        with self._lock:
            self._orders.append(action)
        os.write(self._wake_w, b"x")

    def add(self, sock, on_data, on_end=None):
        self._order(lambda: self._selector.register(
            sock, selectors.EVENT_READ, (on_data, on_end)))

    def _drop(self, sock, on_end):
        try:
            self._selector.unregister(sock)
        except (KeyError, ValueError):
            pass
        sock.close()
        if on_end:
            on_end()

    def _loop(self):
        while self._running:
            for key, _ in self._selector.select():
                if key.data is None:
                    os.read(self._wake_r, 4096)
                    continue
                on_data, on_end = key.data
                try:
                    data = key.fileobj.recv(65536)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if data:
                    on_data(data)
                else:
                    self._drop(key.fileobj, on_end)
            with self._lock:
                orders, self._orders = self._orders, []
            for order in orders:
                order()

    def close(self):
        self._running = False
        os.write(self._wake_w, b"x")
        if threading.current_thread() is not self._thread:
            self._thread.join(5)
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                key.fileobj.close()
        self._selector.close()
        os.close(self._wake_r)
        os.close(self._wake_w)


def connect(path, timeout, alive=lambda: True):
    """Connect to a UNIX socket that is about to appear."""
    end = time.monotonic() + timeout
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
            return sock
        except OSError:
            sock.close()
            if time.monotonic() > end or not alive():
                raise
            time.sleep(0.01)


class Console:
    """A serial line of an emulated host: what came, when, and a way to type.

    chunks holds (time.monotonic(), bytes); a copy of the bytes goes to a file.
    """

    def __init__(self, name, log):
        self.name = name
        self.chunks = []
        self.ended = False
        self._log = open(log, "wb", buffering=0)
        self._changed = threading.Condition()
        self._sock = None

    def attach(self, pump, sock):
        self._sock = sock
        self.ended = False
        pump.add(sock, self._on_data, self._on_end)

    def _on_data(self, data):
        self._log.write(data)
        with self._changed:
            self.chunks.append((time.monotonic(), data))
            self._changed.notify_all()

    def _on_end(self):
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def mark(self):
        """Where we are: an argument for what follows."""
        with self._changed:
            return len(self.chunks)

    def data(self, since=0, until=None):
        """All bytes, or those after a mark(), or between two."""
        with self._changed:
            return b"".join(data for _, data in self.chunks[since:until])

    def text(self, since=0, until=None):
        """What was printed. A guest stopped between a line's CR and its LF has not ended it."""
        return self.data(since, until).decode("utf-8", "replace").replace("\r\n", "\n").removesuffix("\r")

    def lines(self, since=0, until=None):
        """(arrival time of the line's end, line without its end), whole lines only."""
        out, rest = [], b""
        with self._changed:
            chunks = self.chunks[since:until]
        for when, data in chunks:
            *whole, rest = (rest + data).split(b"\n")
            out += [(when, line.rstrip(b"\r").decode("utf-8", "replace")) for line in whole]
        return out

    def send(self, data):
        self._sock.sendall(data)

    def wait_for(self, pattern, timeout, since=0):
        """The first match of a regular expression; None if there is none in time."""
        regex = re.compile(pattern)
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                text = b"".join(data for _, data in self.chunks[since:]).decode("utf-8", "replace")
                match = regex.search(text)
                left = end - time.monotonic()
                if match or left <= 0 or self.ended:
                    return match
                self._changed.wait(left)
