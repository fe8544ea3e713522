"""Regular expressions of rules: written for PCRE, run by Python's ``re``.

One idea: a pattern is read once, token by token. What both understand alike is passed on; what ``re`` would understand
otherwise is written so that it means what PCRE means; what only PCRE has is refused with its position and a way to
write it. Texts are bytes, as in uWSGI. It knows no rule. Invariant: no pattern is accepted whose meaning is known to
differ.

A pattern that tries very many ways (``(a+)+$``) takes ``re`` as long as it takes; PCRE gives up after some steps.
"""

from __future__ import annotations

import re
import sys
import warnings
from bisect import bisect_right
from collections.abc import Callable
from enum import Enum

from uwsgirouter.rules.base import BadRule

_ATOMIC = sys.version_info >= (3, 11)
"""Whether ``re`` has atomic groups and possessive quantifiers."""

_PLAIN = re.compile(rb"[^\\\[\](){}*+?^#|\s]+")
_COUNT = re.compile(rb"\{([0-9]*)(,[0-9]*)?\}")
_FLAGS = re.compile(rb"\(\?([a-zA-Z^]*)(-[a-zA-Z]*)?([:)])")
_CONDITION = re.compile(rb"\(\?\(([0-9]+|[A-Za-z_][A-Za-z0-9_]*)\)")
_POSIX = re.compile(rb"\[([:.=])(\^?)([^\]]*?)\1\]")
_HEX = re.compile(rb"\\x(?:\{([0-9a-fA-F]+)\}|([0-9a-fA-F]{0,2}))")
_OCTAL = re.compile(rb"\\o\{([0-7]+)\}")

_FIXED = re.compile(rb"(?:\^|\\A)(?![*+?{])")
_LINE = re.compile(rb"(?:\.[*+]\??|\(\.[*+]\??\))(?![*+?{])")
_REFERENCE = re.compile(rb"\\[1-9]|\(\?P=|\(\?\(")
_CARET = 0x5E

_LINE_START = rb"(?:\A|(?<=\n)(?!\Z))"
_TEXT_END = rb"(?=\n?\Z)"
_NO_EDGE = rb"(?!\b)"
_ANCHORS = (_LINE_START, _TEXT_END, _NO_EDGE)
"""What stands for an anchor that ``re`` has not, or has otherwise. None can be repeated."""
_VERTICAL = rb"\n\x0b\x0c\r\x85"

_ESCAPES = {
    b"K": "put what $0 shall be into a group and use $1",
    b"Q": "put a \\ before each special sign instead of \\Q...\\E",
    b"E": "put a \\ before each special sign instead of \\Q...\\E",
    b"h": "write [ \\t\\xa0]",
    b"H": "write [^ \\t\\xa0]",
    b"V": "write [^\\n\\x0b\\x0c\\r\\x85]",
    b"N": "write [^\\n]",
    b"R": "write (?:\\r\\n|[\\n\\x0b\\x0c\\r\\x85])",
    b"X": "write (?s:.)",
    b"C": "write (?s:.)",
    b"G": "write \\A",
    b"p": "write a class of bytes as in [A-Za-z]",
    b"P": "write a class of bytes as in [^A-Za-z]",
    b"g": "write \\1 for a group's number, (?P=name) for its name",
    b"k": "write (?P=name)",
}
"""Letters that only PCRE has behind a \\, and what to write."""

_POSIX_CLASSES = {
    b"alpha": "A-Za-z",
    b"digit": "0-9",
    b"alnum": "A-Za-z0-9",
    b"upper": "A-Z",
    b"lower": "a-z",
    b"space": "\\s",
    b"blank": " \\t",
    b"punct": "!-/:-@\\[-`{-~",
    b"xdigit": "0-9A-Fa-f",
    b"word": "\\w",
    b"cntrl": "\\x00-\\x1f\\x7f",
    b"graph": "!-~",
    b"print": " -~",
    b"ascii": "\\x00-\\x7f",
}

_NO_RECURSION = "there is no recursion; write the nesting out as deep as you need it"
_GROUPS = {
    b"|": "(?|...) numbers its groups anew in each branch; use (?:...), each group has its own number then",
    b"<": "write (?P<name>...)",
    b"'": "write (?P<name>...)",
    b"R": _NO_RECURSION,
    b"&": _NO_RECURSION,
    b"+": _NO_RECURSION,
    b"P": _NO_RECURSION,
    b"C": "there are no callouts; leave it out",
}
"""What may stand behind ``(?`` in PCRE alone."""


Search = Callable[[bytes], "re.Match[bytes] | None"]


def searching(text: bytes) -> Search:
    """What looks for the pattern anywhere in a text. Raises :class:`BadRule`.

    ``re`` tries each place of a text in turn, even where the pattern can begin at one alone: at the text's beginning
    (``^/x``), or at that of a line (``.*curl``, which would take the square of the text's length).
    """
    made, reader = _compiled(text)
    start = reader.start
    if start is Start.TEXT:
        return made.match
    if start is Start.ANYWHERE:
        return made.search
    match = made.match
    lines = re.compile(b"(?m:^)(?:" + reader.behind_flags + b")", made.flags).search

    def search(subject: bytes) -> re.Match[bytes] | None:
        return lines(subject) if b"\n" in subject else match(subject)

    return search


class Start(Enum):
    """Where a match of a pattern can begin."""

    TEXT = "at the text's beginning"
    LINE = "at the beginning of a line"
    ANYWHERE = "anywhere"


def compiled(text: bytes) -> re.Pattern[bytes]:
    """The pattern. Raises :class:`BadRule` with the position, and a way to write what PCRE could and ``re`` cannot."""
    return _compiled(text)[0]


def _compiled(text: bytes) -> tuple[re.Pattern[bytes], _Reader]:
    reader = _Reader(text)
    translated = reader.translated()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what later versions of re may give a meaning to ([[a], [a--b])
            return re.compile(translated), reader
    except (re.error, OverflowError, RecursionError) as error:
        position = reader.origin(error.pos or 0) if isinstance(error, re.error) else 0
        said = error.msg if isinstance(error, re.error) else "too large"
        raise _bad(text, position, said + _hint(said)) from None


def _bad(text: bytes, position: int, reason: str) -> BadRule:
    shown = text[position : position + 20].decode("utf-8", "backslashreplace")
    return BadRule(f"bad regular expression at position {position} ({shown!r}): {reason}")


def _hint(said: str) -> str:
    if said.startswith("look-behind"):
        return "; write (?:(?<=a)|(?<=bc)) for (?<=a|bc)"
    if said.startswith("multiple repeat"):
        return "; put (?:...) around what is to be repeated again"
    if said.startswith("invalid group reference"):
        return "; write a byte by its number as \\x0a"
    return ""


class _Reader:
    """One pattern, from left to right."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0
        self._out: list[bytes] = []
        self._size = 0
        self._marks: list[tuple[int, int]] = []
        """Where tokens begin: in what was made, and in the text."""
        self._modes: list[bytes] = [b""]
        """The flags in force: of the whole, and of each open group."""
        self._flags = 0
        """How many tokens are flags at the beginning."""
        self._begin = 0
        """Where the pattern begins, behind its flags."""
        self._branches = False
        """Whether a | divides the whole."""

    def translated(self) -> bytes:
        """The pattern for ``re``. Raises :class:`BadRule`."""
        text = self._text
        self._leading_flags()
        self._begin, self._flags = self._at, len(self._out)
        while self._at < len(text):
            plain = _PLAIN.match(text, self._at)
            if plain:
                self._put(plain[0], len(plain[0]))
                continue
            sign = text[self._at : self._at + 1]
            if sign == b"\\":
                self._escape()
            elif sign == b"[":
                self._class()
            elif sign == b"(":
                self._group()
            elif sign in (b"*", b"+", b"?", b"{"):
                self._quantifier(sign)
            else:
                self._sign(sign)
        return b"".join(self._out)

    @property
    def behind_flags(self) -> bytes:
        """What was made of the pattern without the flags at its beginning."""
        return b"".join(self._out[self._flags :])

    @property
    def start(self) -> Start:
        """Where a match can begin, as far as that is easily told; the whole must have been translated."""
        mode = self._modes[0]
        if self._branches or b"x" in mode:
            return Start.ANYWHERE
        if _FIXED.match(self._text, self._begin) and not (b"m" in mode and self._text[self._begin] == _CARET):
            return Start.TEXT
        if _LINE.match(self._text, self._begin) and not _REFERENCE.search(self._text):
            return Start.TEXT if b"s" in mode else Start.LINE
        return Start.ANYWHERE

    def origin(self, position: int) -> int:
        """Where in the text the token stands that made the byte at ``position``."""
        index = bisect_right(self._marks, (position, len(self._text))) - 1
        return self._marks[index][1] if index >= 0 else 0

    def _put(self, made: bytes, read: int) -> None:
        """``made`` stands for the next ``read`` bytes of the text."""
        self._marks.append((self._size, self._at))
        self._out.append(made)
        self._size += len(made)
        self._at += read

    def _fail(self, reason: str, before: int = 0) -> BadRule:
        return _bad(self._text, self._at - before, reason)

    def _leading_flags(self) -> None:
        """(?i) and the like count for all of the pattern, where they stand at its beginning."""
        while found := _FLAGS.match(self._text, self._at):
            if found[3] != b")" or found[2] or found[1].strip(b"imsx"):
                return
            self._modes[0] += found[1]
            self._put(found[0], len(found[0]))

    def _sign(self, sign: bytes) -> None:
        """One byte that means something, at times."""
        mode = self._modes[-1]
        if sign == b"#" and b"x" in mode:
            end = self._text.find(b"\n", self._at)
            comment = self._text[self._at : end if end >= 0 else len(self._text)]
            self._put(b"", len(comment))
        elif sign == b"^" and b"m" in mode:
            self._put(_LINE_START, 1)  # not behind a newline at the very end
        else:
            if sign == b")" and len(self._modes) > 1:
                self._modes.pop()
            elif sign == b"|" and len(self._modes) == 1:
                self._branches = True
            self._put(sign, 1)

    def _quantifier(self, sign: bytes) -> None:
        found = _COUNT.match(self._text, self._at) if sign == b"{" else None
        if sign == b"{" and (found is None or not (found[1] or found[2])):
            self._put(rb"\{", 1)
            return
        if found and not found[1]:
            if found[2] == b",":
                self._put(b"\\" + found[0], len(found[0]))
                return
            most = (found[2] or b",").decode()
            raise self._fail(f"PCRE's versions differ in what this is; write {{0{most}}}, or \\{{{most}\\}}")
        if self._out and self._out[-1] in _ANCHORS:
            raise self._fail("nothing to repeat")
        size = len(found[0]) if found else 1
        after = self._text[self._at + size : self._at + size + 1]
        if after == b"+" and not _ATOMIC:
            raise self._fail("possessive quantifiers take Python 3.11; write (?=(...*))\\1 for (...)*+")
        if after in (b"+", b"?"):
            size += 1
        self._put(self._text[self._at : self._at + size], size)

    def _escape(self, in_class: bool = False) -> bool:
        """A \\ and what belongs to it; whether it is a set of bytes."""
        text, at = self._text, self._at
        letter = text[at + 1 : at + 2]
        if letter in _ESCAPES:
            raise self._fail(f"re has no \\{letter.decode()}; {_ESCAPES[letter]}")
        if letter == b"Z" and not in_class:
            self._put(_TEXT_END, 2)
        elif letter == b"z" and not in_class:
            self._put(rb"\Z", 2)
        elif letter == b"B" and not in_class:
            self._put(_NO_EDGE, 2)  # before Python 3.14, \B is nowhere in an empty text
        elif letter == b"v":
            self._put(_VERTICAL if in_class else b"[" + _VERTICAL + b"]", 2)
            return True
        elif letter in (b"e", b"c", b"x", b"o"):
            self._numbered(letter)
        else:
            self._put(text[at : at + 2], 2)
            return letter in b"dDsSwW" and letter != b""
        return False

    def _numbered(self, letter: bytes) -> None:
        """A byte written as a number: \\e, \\cX, \\x41, \\x{41}, \\o{101}."""
        text, at = self._text, self._at
        if letter == b"e":
            self._put(rb"\x1b", 2)
            return
        if letter == b"c":
            sign = text[at + 2 : at + 3].upper()
            if not sign or not 32 <= sign[0] < 127:
                raise self._fail("a printable sign is missing behind \\c")
            self._put(b"\\x%02x" % (sign[0] ^ 64), 3)
            return
        found = (_HEX if letter == b"x" else _OCTAL).match(text, at)
        if found is None:
            raise self._fail("expected octal digits in \\o{...}")
        digits = found[1] or (found[2] if letter == b"x" else b"") or b"0"
        value = int(digits, 16 if letter == b"x" else 8)
        if value > 255:
            raise self._fail("patterns are bytes: write each byte of the sign as \\xhh")
        self._put(b"\\x%02x" % value, len(found[0]))

    def _class(self) -> None:
        text = self._text
        start = self._at
        self._put(b"[", 1)
        if text[self._at : self._at + 1] == b"^":
            self._put(b"^", 1)
        first = True
        was_set = False
        while self._at < len(text):
            sign = text[self._at : self._at + 1]
            if sign == b"]" and not first:
                self._put(b"]", 1)
                return
            first = False
            if sign == b"\\":
                was_set = self._escape(in_class=True)
                continue
            if sign == b"[":
                self._inner()
            elif sign == b"-" and was_set and text[self._at + 1 : self._at + 2] != b"]":
                self._put(rb"\-", 1)  # [\w-.]: re takes it for a range and complains
            else:
                self._put(b"\\" + sign if sign in b"]&|~" else sign, 1)
            was_set = False
        raise _bad(text, start, "unterminated character set")

    def _inner(self) -> None:
        """A [ in a class: a sign like any other, or one of PCRE's named classes."""
        found = _POSIX.match(self._text, self._at)
        if found is None:
            self._put(rb"\[", 1)
            return
        bytes_of = _POSIX_CLASSES.get(found[3]) if found[1] == b":" else None
        if bytes_of is None:
            raise self._fail("an unknown class")
        name = found[0].decode()
        written = f"[^{bytes_of}]" if found[2] else f"[{bytes_of}]"
        raise self._fail(f"re has no {name}; write {written} for [{name}]")

    def _group(self) -> None:
        text, at = self._text, self._at
        self._modes.append(self._modes[-1])
        if text.startswith(b"(*", at):
            raise self._fail("re has no verbs such as (*SKIP) or (*UTF8); leave it out")
        if not text.startswith(b"(?", at):
            self._put(b"(", 1)
            return
        if text.startswith(b"(?#", at):
            self._modes.pop()
            end = text.find(b")", at)
            if end < 0:
                raise self._fail("a comment without its end")
            self._put(b"", end + 1 - at)
            return
        for form in (b"(?:", b"(?=", b"(?!", b"(?<=", b"(?<!", b"(?P<"):
            if text.startswith(form, at):
                self._put(form, len(form))
                return
        if text.startswith(b"(?P=", at):
            self._put(b"(?P=", 4)
        elif text.startswith(b"(?>", at):
            if not _ATOMIC:
                raise self._fail("atomic groups take Python 3.11; write (?=(...))\\1 for (?>...)")
            self._put(b"(?>", 3)
        elif text.startswith(b"(?(", at):
            self._conditional()
        else:
            self._flags_or_worse()

    def _conditional(self) -> None:
        found = _CONDITION.match(self._text, self._at)
        if found is None or re.fullmatch(rb"R[0-9]*|DEFINE|VERSION", found[1]):
            way = "only (?(1)yes|no) and (?(name)yes|no) are known; for (?(?=a)b|c) write (?:(?=a)b|(?!a)c)"
            raise self._fail(f"re has no such condition: {way}")
        self._put(found[0], len(found[0]))

    def _flags_or_worse(self) -> None:
        text, at = self._text, self._at
        behind = text[at + 2 : at + 3]
        if behind.isdigit() or (behind == b"-" and text[at + 3 : at + 4].isdigit()):
            raise self._fail(_NO_RECURSION)
        if behind in _GROUPS:
            raise self._fail(_GROUPS[behind])
        found = _FLAGS.match(text, at)
        if found is None:
            raise self._fail("an unknown sort of group")
        on, off = found[1], (found[2] or b"")[1:]
        self._known_flags(on + off)
        if found[3] == b")":
            written = found[0][2:-1].decode()
            raise self._fail(
                f"flags count for a whole pattern or a group: write (?{written}:...) around what they are for"
            )
        self._modes[-1] = bytes(flag for flag in self._modes[-1] + on if flag not in off)
        self._put(found[0], len(found[0]))

    def _known_flags(self, flags: bytes) -> None:
        if flags.strip(b"imsx"):
            raise self._fail("only the flags i, m, s and x are known")
