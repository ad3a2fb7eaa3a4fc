"""Formulas of the pages, $...$ in a line and $$...$$ on lines of their own, become MathML when the site is built.

Browsers set MathML themselves, so a page fetches nothing and runs no script to show one. Code stays code: what stands
between backticks is taken out of the text before formulas are looked for.
"""

from typing import Any
from xml.etree.ElementTree import fromstring, register_namespace, tostring

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

MATHML = "http://www.w3.org/1998/Math/MathML"
register_namespace("", MATHML)
AFTER_CODE_BEFORE_ESCAPES = 185
DISPLAYED = r"(?<![\\$])\$\$(?P<tex>[^$]+)\$\$"
INLINE = r"(?<![\\$\w])\$(?P<tex>(?![\s$])[^$]*[^\s$\\])\$(?![\w$])"


def mathml(tex: str, display: str) -> str:
    """Sets one formula. Errors: `ValueError` with the formula if it has a command that is not known."""
    found = fromstring(convert(" ".join(tex.split()), display=display))
    for x in found.iter():
        text = x.text or ""
        if text.startswith("\\"):
            raise ValueError(f"${tex}$ cannot be set: {text} is unknown")
        if text == "~":
            x.tag, x.text = f"{{{MATHML}}}mo", "\u223c"  # a relation, which has room on both sides
        if x.tag == f"{{{MATHML}}}mo" and (text in ("|", "\u2016", "/") or text.isalpha()):
            x.attrib |= {"lspace": "0", "rspace": "0", "stretchy": "false"}  # bars, slashes, names: as TeX spaces them
    return tostring(found, encoding="unicode")


class Formula(InlineProcessor):
    """This puts a formula aside as MathML, so that nothing else reads its underscores and stars."""

    def __init__(self, pattern: str, md: Markdown, display: str):
        super().__init__(pattern, md)
        self.display = display

    def handleMatch(self, m: Any, data: str) -> tuple[str, int, int]:  # noqa: N802
        return self.md.htmlStash.store(mathml(m["tex"], self.display)), m.start(0), m.end(0)


class Formulas(Extension):
    """This adds formulas to Markdown."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        md.inlinePatterns.register(Formula(DISPLAYED, md, "block"), "displayed formula", AFTER_CODE_BEFORE_ESCAPES + 1)
        md.inlinePatterns.register(Formula(INLINE, md, "inline"), "formula", AFTER_CODE_BEFORE_ESCAPES)


def on_config(config: Any) -> Any:
    """Is called by mkdocs before anything is built."""
    config["markdown_extensions"].append(Formulas())
    return config
