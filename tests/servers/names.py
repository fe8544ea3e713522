"""A small DNS server for the tests: UDP, one thread, answers from a dictionary that a test may change."""

from __future__ import annotations

import socket
import threading
from types import TracebackType

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Records = dict[tuple[str, str], list[str]]


class NameServer:
    """Answers for ``records``, (name without the last dot, type) to texts; ``silent`` makes it say nothing.

    A name that has no records at all is answered with NXDOMAIN. ``questions`` counts what was asked.
    """

    def __init__(self, records: Records, ttl: int = 1) -> None:
        self.records = records
        self.ttl = ttl
        self.silent = False
        self.rcode = dns.rcode.NOERROR
        self.questions: list[tuple[str, str]] = []
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:{1}".format(*self._sock.getsockname())
        self._thread = threading.Thread(target=self._serve, name=f"name server {self.address}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, sender = self._sock.recvfrom(4096)
            if not data:
                return
            if not self.silent:
                self._sock.sendto(self._answer(dns.message.from_wire(data)).to_wire(), sender)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        response.set_rcode(self.rcode)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.questions.append((name, kind))
        while alias := self.records.get((name, "CNAME")):
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", "CNAME", f"{alias[0]}."))
            name = alias[0]
        found = self.records.get((name, kind))
        if found:
            response.answer.append(dns.rrset.from_text_list(f"{name}.", self.ttl, "IN", kind, found))
        elif not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    def stop(self) -> None:
        """Close it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._sock.getsockname())
        self._thread.join(5)
        self._sock.close()

    def __enter__(self) -> NameServer:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()
