"""Docstrings are written to be read in the code; this makes Markdown of them for the reference.

A line that explains an argument, `name: ...` or `a, b [n]: ...`, becomes an entry of a list; `Shapes:`, `Errors:` and
`Attributes:` begin a paragraph; shapes such as [B, n] are set as code, and so are indented blocks.
"""

import re
from typing import Any

import griffe

ENTRY = re.compile(r"(\*{0,2}[a-z_]\w*(?:, \*{0,2}[a-z_]\w*)*(?: \[[^\]]*\])?): ")
NEXT_ENTRY = re.compile(rf"(?:(?<=\.)|;) (?={ENTRY.pattern})")
LABEL = re.compile(r"(?:^|(?<=[.)])\s)(Shapes|Errors|Attributes)(?=[:,])", flags=re.MULTILINE)
CODE = re.compile(r"(`[^`]*`|(?:\[[\w*][\w*+, .]*\])+)")


def markdown(docstring: str) -> str:
    """Returns the same text as Markdown."""
    blocks = re.split(r"\n\s*\n", LABEL.sub(r"\n\n\1", docstring).strip())
    return "\n\n".join(block if block.startswith("    ") else _paragraph(block.strip("\n")) for block in blocks)


def _paragraph(block: str) -> str:
    lines = block.splitlines()
    if any(map(ENTRY.match, lines)):
        lines = NEXT_ENTRY.sub("\n", block).splitlines()
    text, entries = "", False
    for line in lines:
        entry = ENTRY.match(line)
        if entry:
            text += ("" if entries or not text else "\n") + f"- `{entry[1]}`: {_inline(line[entry.end() :])}\n"
            entries = True
        else:
            text += ("    " if entries else "") + _inline(line) + "\n"
    return re.sub(r"^(Shapes|Errors|Attributes)", r"**\1**", text.rstrip())


def _inline(line: str) -> str:
    parts = enumerate(CODE.split(line))  # every other one is code
    return "".join(f"`{part.strip('`')}`" if k % 2 else _escaped(part) for k, part in parts)


def _escaped(text: str) -> str:
    return re.sub(r"([*_\[\]#])", r"\\\1", text).replace("<", "&lt;")


class Docstrings(griffe.Extension):
    """This hands every docstring of the library on as Markdown."""

    def on_object(self, *, obj: Any, **kwargs: Any) -> None:
        if obj.docstring is not None and not obj.is_alias:
            obj.docstring.value = markdown(obj.docstring.value)
