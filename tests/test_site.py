"""The site: formulas are set when it is built, docstrings read well in it, every public name is in the reference."""

import re
from pathlib import Path
from xml.etree.ElementTree import fromstring

import markdown
import pytest

import marl
import marl.exact
import marl.testing
from website import docstrings
from website.formulas import Formulas, mathml
from website.self_contained import loaded_from_elsewhere

REPOSITORY = Path(__file__).parents[1]
PAGES = sorted(str(page.relative_to(REPOSITORY)) for page in (REPOSITORY / "docs").rglob("*.md"))


def html(text: str) -> str:
    return markdown.markdown(text, extensions=["tables", "fenced_code", Formulas()])


@pytest.mark.parametrize("page", PAGES)
def test_formulas_of_a_page_are_set_and_none_is_left(page: str) -> None:
    made = html((REPOSITORY / page).read_text(encoding="utf-8"))
    for found in re.findall(r"<math.*?</math>", made, flags=re.DOTALL):
        assert not [x.text for x in fromstring(found).iter() if (x.text or "").startswith("\\")]
    plain = re.sub(r"<math.*?</math>|<code.*?</code>", "", made, flags=re.DOTALL)
    assert "$" not in plain
    assert not re.findall(r"\b(?:kappa|alpha|eta|mu|theta|gamma|zeta)(?:_\w)? = |\w_\{", plain), "a formula as plain text"


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("a $z_i^*$ and *b* $x_*$", 2),
        ("**bold $x_i$ text_with_underscores $y_i$**", 2),
        ("| a | b |\n| --- | --- |\n| $\\lvert N_i\\rvert$ | `$x$` |", 1),
        ("- an entry:\n\n    $$\\sum_i x_i$$\n\n- another, $y$", 2),
        ("$$\na \\le\nb\n$$", 1),
        ("`$x$` is code, and so is\n\n    $ ls\n", 0),
        ("from $5 to $6, and \\$x\\$", 0),
    ],
)
def test_what_is_a_formula(text: str, formulas: int) -> None:
    assert html(text).count("<math") == formulas


@pytest.mark.parametrize("tex", ["\\nosuchcommand x", "x_{\\alsonone}"])
def test_a_formula_that_cannot_be_set_is_named(tex: str) -> None:
    with pytest.raises(ValueError, match=re.escape(tex)):
        mathml(tex, "inline")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (
            "Draws a_i. Shapes: s, u [*K, B, n] -> [*K, B, n].",
            "Draws a\\_i.\n\n**Shapes**: s, u `[*K, B, n]` -> `[*K, B, n]`.",
        ),
        ("It is.\n\nShapes: [B]. Errors: `E` if\nnot.", "It is.\n\n**Shapes**: `[B]`.\n\n**Errors**: `E` if\nnot."),
        (
            "Facts.\na: one.\nb, c [n, S]: two,\nand more. d: three.",
            "Facts.\n\n- `a`: one.\n- `b, c [n, S]`: two,\n    and more.\n- `d`: three.",
        ),
        ("Code:\n\n    x = y[0] * z_1", "Code:\n\n    x = y[0] * z_1"),
        ("Where x < y, {[replica][agent]}.", "Where x &lt; y, {`[replica][agent]`}."),
    ],
)
def test_a_docstring_as_markdown(written: str, read: str) -> None:
    assert docstrings.markdown(written) == read


def test_every_public_name_is_in_the_reference() -> None:
    text = "".join((REPOSITORY / page).read_text(encoding="utf-8") for page in PAGES if page.startswith("docs/api/"))
    entries = re.findall(r"^::: marl\.(?:\w+\.)*(\w+)$", text, flags=re.MULTILINE)
    assert len(entries) == len(set(entries))
    assert {*marl.__all__, *marl.exact.__all__, *marl.testing.__all__} <= set(entries)


@pytest.mark.parametrize(
    ("page", "loaded"),
    [
        ('<script async src="https://x.org/a.js"></script>', ["https://x.org/a.js"]),
        ("<link rel=stylesheet href=//x.org/a.css>", ["//x.org/a.css"]),
        ('<img alt="" src="http://x.org/a.png">', ["http://x.org/a.png"]),
        ('<a href="https://x.org">x</a> <img src="figures/a.png"> <script src="../js/a.js"></script>', []),
    ],
)
def test_what_a_page_loads_from_elsewhere_is_seen(page: str, loaded: list[str]) -> None:
    assert loaded_from_elsewhere(page) == loaded
