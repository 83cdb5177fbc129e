# SPDX-License-Identifier: LGPL-2.1-or-later
"""A WebSocket client that can also be rude: it sends what it is told to, and reads when it is told to."""

import base64
import json
import os
import socket
import struct
import time


class Closed(Exception):
    """The other side is gone; `code` is of its closing frame, or None."""

    def __init__(self, code=None):
        super().__init__(f"closed with {code}")
        self.code = code


def connect_tcp(port, timeout=20):
    return socket.create_connection(("127.0.0.1", port), timeout)


class WebSocket:
    def __init__(self, port, path="/ws", headers=None, receive_buffer=None, context=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        all_headers = {"Host": f"127.0.0.1:{port}", "Upgrade": "websocket", "Connection": "Upgrade",
                       "Sec-WebSocket-Version": "13",
                       "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(), **(headers or {})}
        text = f"GET {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in all_headers.items()) + "\r\n"
        self.socket.sendall(text.encode())
        self.rest = b""
        while b"\r\n\r\n" not in self.rest:
            data = self.socket.recv(4096)
            if not data:
                break
            self.rest += data
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        words = head.split(b"\r\n")[0].split()
        self.status = int(words[1]) if len(words) > 1 else 0

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.socket.close()

    def raw(self, data):
        self.socket.sendall(data)

    def frame(self, payload, opcode=1, masked=True, final=True, length=None):
        """`length`: what the frame claims, if not the truth."""
        if isinstance(payload, str):
            payload = payload.encode()
        size = len(payload) if length is None else length
        head = bytes([(0x80 if final else 0) | opcode])
        mask_bit = 0x80 if masked else 0
        if size < 126:
            head += bytes([mask_bit | size])
        elif size < 65536:
            head += bytes([mask_bit | 126]) + struct.pack(">H", size)
        else:
            head += bytes([mask_bit | 127]) + struct.pack(">Q", size)
        if masked:
            mask = os.urandom(4)
            payload = mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        self.raw(head + payload)

    def send(self, message):
        self.frame(json.dumps(message))

    def read(self, count):
        while len(self.rest) < count:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                raise Closed()
            self.rest += data
        data, self.rest = self.rest[:count], self.rest[count:]
        return data

    def receive(self):
        """The next message, as JSON. Raises Closed."""
        while True:
            first, second = self.read(2)
            size = second & 127
            if size == 126:
                size = struct.unpack(">H", self.read(2))[0]
            elif size == 127:
                size = struct.unpack(">Q", self.read(8))[0]
            payload = self.read(size)
            if first & 15 == 8:
                raise Closed(struct.unpack(">H", payload[:2])[0] if len(payload) > 1 else None)
            if first & 15 == 1:
                return json.loads(payload)

    def until(self, kind, where=lambda message: True, seconds=30):
        """The next message of this type for which `where` holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            message = self.receive()
            if message.get("type") == kind and where(message):
                return message
        raise AssertionError(f"no message of type {kind}")

    def reply(self, to=None):
        return self.until("reply", lambda message: to is None or message["to"] == to)

    def closing(self):
        """Reads until the other side closes; the code it gives."""
        try:
            while True:
                self.receive()
        except Closed as closed:
            return closed.code
