"""What mkdocs is told while it builds the site (``hooks`` in mkdocs.yml).

Pages are written for GitHub as well: there a bar in a table's cell is ``\\|`` even within code, and Python-Markdown
would show the backslash.
"""

from __future__ import annotations

import re
from typing import Any

_CODE_IN_CELL = re.compile(r"<t[dh][^>]*>.*?</t[dh]>", re.DOTALL)
_CODE = re.compile(r"<code>.*?</code>", re.DOTALL)


def on_page_content(html: str, **_: Any) -> str:
    """The page's HTML with plain bars in the code of tables."""
    return _CODE_IN_CELL.sub(lambda cell: _CODE.sub(lambda code: code[0].replace(r"\|", "|"), cell[0]), html)
