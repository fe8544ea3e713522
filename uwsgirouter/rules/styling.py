"""XSLT on documents that nobody vouches for: lxml, with everything shut that leads out of the two documents.

One idea: a stylesheet is the operator's, a document may be anybody's. So no external entity, DTD, ``document()``,
``xsl:import`` or ``xsl:include`` is ever loaded, nothing is written, the network is not asked; a document that declares
entities is refused, since what they stand for can grow without bound. It holds the processor for as long as it takes,
and is therefore run in a thread. It knows no request. Invariant: whatever lxml raises becomes :class:`StyleFailed`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from uwsgirouter.errors import RouterError
from uwsgirouter.rules.arguments import shown
from uwsgirouter.rules.reading import read_file
from uwsgirouter.rules.service import extra

KEPT = 32
"""Compiled stylesheets in each :data:`Kept`."""
REASON_MOST = 200
PARAMETERS_MOST = 64
Kept = OrderedDict[bytes, tuple[bytes, Any]]
"""Compiled stylesheets of one thread: path to what stood in the file, and what became of it."""

_NAME = re.compile(r"[A-Za-z_][\w.\-]*")


class StyleFailed(RouterError):
    """No result; ``str()`` says why."""


class Style:
    """Makes pages of documents. Raises :class:`~uwsgirouter.rules.base.BadRule` when lxml is not there."""

    def __init__(self, most: int) -> None:
        self._most = most
        """Bytes of a document, of a stylesheet, and of what comes of them."""
        self._etree: Any = _library()

    def page(self, document: bytes, stylesheet: bytes, parameters: Sequence[tuple[str, str]], kept: Kept) -> bytes:
        """``document`` (bytes of XML) in the style of the file ``stylesheet``. Raises :class:`StyleFailed`, Broken.

        ``kept`` is this thread's own.
        """
        etree = self._etree
        try:
            transform = self._transform(stylesheet, kept)
            tree = self._parsed(document, "the document")
            given = {name: etree.XSLT.strparam(value) for name, value in parameters}
            result = bytes(transform(tree, **given))
        except (etree.LxmlError, ValueError, TypeError, RecursionError, MemoryError) as error:
            raise StyleFailed(f"{shown(stylesheet)}: {_reason(error)}") from None
        if len(result) > self._most:
            raise StyleFailed(f"{shown(stylesheet)}: it makes more than transformation-buffer = {self._most} bytes")
        return result

    def _parsed(self, data: bytes, what: str) -> Any:
        """A tree. Raises :class:`StyleFailed`, and what lxml raises."""
        etree = self._etree
        parser = etree.XMLParser(
            resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False
        )
        parser.resolvers.add(_nothing(etree)())
        tree = etree.fromstring(data, parser).getroottree()
        subset = tree.docinfo.internalDTD
        if subset is not None and next(subset.iterentities(), None) is not None:
            raise StyleFailed(f"{what} declares entities, which are not expanded")
        return tree

    def _transform(self, path: bytes, kept: Kept) -> Any:
        """The stylesheet in a file, compiled once for each state of the file."""
        data, _ = read_file(path, self._most)
        found = kept.get(path)
        if found is not None and found[0] == data:
            kept.move_to_end(path)
            return found[1]
        etree = self._etree
        nothing = etree.XSLTAccessControl(
            read_file=False, write_file=False, create_dir=False, read_network=False, write_network=False
        )
        tree = self._parsed(data, "the stylesheet")
        transform = etree.XSLT(tree, access_control=nothing, regexp=False)
        kept[path] = data, transform
        if len(kept) > KEPT:
            kept.popitem(last=False)
        return transform


def parameters(text: bytes) -> list[tuple[str, str]]:
    """``a=b&c=d``; values stay as they are, what has no ``=`` is left out. Raises :class:`StyleFailed`."""
    found = []
    for item in text.split(b"&"):
        name, equals, value = item.partition(b"=")
        if equals:
            found.append((name.decode("utf-8", "replace"), value.decode("utf-8", "replace")))
    if len(found) > PARAMETERS_MOST:
        raise StyleFailed(f"more than {PARAMETERS_MOST} parameters")
    return [pair for pair in found if _NAME.fullmatch(pair[0])]


def _library() -> ModuleType:
    return extra("lxml.etree", "xslt")


def _nothing(etree: Any) -> Any:
    """What resolves nothing that a document or a stylesheet names."""

    class Nothing(etree.Resolver):  # type: ignore[misc]
        def resolve(self, url: str | None, public: str | None, context: Any) -> Any:
            raise StyleFailed(f"it may not read {str(url)[:REASON_MOST]}")

    return Nothing


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:REASON_MOST] or type(error).__name__
