"""What README.md and docs/ say is so: code runs, commands are accepted, links and names lead somewhere."""

import ast
import contextlib
import functools
import inspect
import re
import shlex
import shutil
import sys
from operator import attrgetter
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

import marl.cli.help
import marl.exact
from marl.cli.subject import names_part
from marl.cli.train import compose
from tests.cli.command import command_in

REPOSITORY = Path(__file__).parents[1]
PROJECT = REPOSITORY / "examples" / "my_project"
PAGES = ["README.md", *sorted(str(page.relative_to(REPOSITORY)) for page in (REPOSITORY / "docs").rglob("*.md"))]
AS_TYPED = ["docs/quickstart.md", "docs/use.md"]
"""Pages whose commands are short enough to be run, and their output compared; settings of other pages are composed."""
FENCED = re.compile(r"^(<!-- fragment -->\n)?```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def text_of(page: str) -> str:
    return (REPOSITORY / page).read_text()


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of every fenced block but those marked `<!-- fragment -->`, which are no code by themselves."""
    return [(language, text) for fragment, language, text in FENCED.findall(text_of(page)) if not fragment]


def inline(page: str) -> list[str]:
    """Everything between single backticks."""
    return re.findall(r"`([^`]+)`", FENCED.sub("", text_of(page)))


def without_numbers(text: str) -> set[str]:
    return set(re.sub(r"\d+(\.\d+)?(e-?\d+)?", "0", text).splitlines())


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] * (page == "docs/quickstart.md"))  # ten minutes of a reader
        for page in PAGES
        if page in AS_TYPED or "\n```python\n" in text_of(page)
    ],
)
def test_code_of_a_page_runs_in_order(page: str, tmp_path: Path) -> None:
    """In a copy of examples/my_project. What is shown as output was printed by the commands before it, up to numbers."""
    here = shutil.copytree(PROJECT, tmp_path / "try", ignore=shutil.ignore_patterns("outputs", "__pycache__"))
    names, printed = {"__name__": "page"}, ""
    with command_in(here) as command:
        sys.path.append(str(here))
        for k, (language, text) in enumerate(blocks(page)):
            if language == "python":
                file = tmp_path / f"block_{k}.py"  # compiled functions are kept beside a file
                file.write_text(text)
                exec(compile(text, file, "exec"), names)
            elif page in AS_TYPED and language in ("bash", "console"):
                lines = [line.removeprefix("$ ") for line in text.splitlines()]
                ran = [command(*shlex.split(line)[1:]) for line in lines if line.startswith("marl ")]
                printed = "".join(outcome.out + outcome.err for outcome in ran)
                assert language == "console" or all(outcome.code == 0 for outcome in ran), printed
            if page in AS_TYPED and language in ("text", "console"):
                shown = re.sub(r"^\$ .*\n", "", text, flags=re.MULTILINE).replace("/tmp/try", str(here))
                assert without_numbers(shown) <= without_numbers(printed)


SHELL = [line for page in PAGES for language, text in blocks(page) if language == "bash" for line in text.splitlines()]
SHELL += [text for page in PAGES for text in inline(page)]


@functools.cache
def composed(command: str, *overrides: str) -> None:
    """Composed once, for a fifth of a second."""
    compose([*overrides], command)


def values(text: str) -> list[str]:
    """The override itself, or of a sweep one for each of its values."""
    override = OverridesParser.create().parse_override(text)
    found = override.sweep_string_iterator() if override.is_sweep_override() else []
    return [f"{override.key_or_group}={value}" for value in found] or [text]


@pytest.mark.parametrize("line", sorted({line for line in SHELL if line.startswith(("python ", "make ", "marl "))}))
def test_what_a_command_names_exists(line: str) -> None:
    """Scripts and their options, targets of make, commands, keys and parts of marl (plugins of Hydra are left out)."""
    program, first, *words = shlex.split(line, comments=True)
    if program == "python" and first.endswith(".py"):
        script = text_of(first)
        beside = [f"{Path(first).parent}/{name}.py" for name in re.findall(r"^from (\w+) import", script, re.MULTILINE)]
        script += "".join(text_of(file) for file in beside if (REPOSITORY / file).is_file())
        assert [word for word in words if word.startswith("--") and f'"{word}"' not in script] == []
    elif program == "make":
        assert re.search(f"^{first}:", text_of("Makefile"), flags=re.MULTILINE)
    elif program == "marl" and first != "COMMAND":
        assert first in marl.cli.COMMANDS
        given = [word for word in words if re.match(r"[\w.]+=", word) and not word.startswith(("hydra", "resume="))]
        given = [word for word in given if not word.endswith("=...")]
        makes_parts = ("train", "certify", "decay", "optimum", "watch")
        if first in makes_parts or (first == "evaluate" and any(map(names_part, words))):
            own = [f"hydra.searchpath=[file://{PROJECT}/conf]"] if "--config-dir" in words else []
            swept = [*map(values, given)]
            for k in range(max(map(len, swept), default=1)):  # every value is met by a value of every other key
                composed(first, *(choice[k % len(choice)] for choice in swept), *own)
        else:
            assert [word for word in given if word.partition("=")[0] + "=" not in marl.cli.help.of(first)] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_lead_to_files(page: str) -> None:
    plain = FENCED.sub("", text_of(page))
    assert "```" not in plain, "mkdocs knows no block of code that starts like this"
    for link in re.findall(r"\]\(([^)\s]+)\)", plain):
        path, _, anchor = link.partition("#")
        if not path.startswith(("http:", "https:")):
            target = (REPOSITORY / page).parent / (path or Path(page).name)
            assert target.exists(), link
            headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE) if anchor else []
            assert anchor in ["", *(re.sub(r"[^\w -]", "", x).lower().replace(" ", "-") for x in headings)], link
    places = r"\b(?:benchmarks|conf|docs|examples|experiments|marl|tests)/[\w./-]*"
    paths = re.findall(places, "\n".join(inline(page)))
    assert [path for path in paths if not (REPOSITORY / path).exists() and not (PROJECT / path).exists()] == []


def resolve(name: str) -> object:
    """What a name of `marl.exact` or `marl` stands for; the class, for an attribute that only its objects have."""
    owner, _, attribute = name.rpartition(".")
    for look, home in ((look, home) for look in (name, owner) for home in (marl.exact, marl)):
        with contextlib.suppress(AttributeError):
            found = attrgetter(look)(home)
            if look == name or f"self.{attribute}" in inspect.getsource(found):
                return found
    raise AssertionError(f"there is no {name}")


def test_every_name_from_paper_to_code_exists() -> None:
    """Functions, classes, their arguments, and settings (files: see above); no test of the paper is left out."""
    named = {*inline("docs/paper-to-code.md")}
    for text in named - {"marl", "marl.exact"}:
        call = re.fullmatch(r"([\w.]+)(?:\((\w+)=\.\.\.\))?", text)
        if call is not None:
            found = resolve(call[1])
            assert call[2] is None or call[2] in inspect.signature(found).parameters, text
        elif "/" not in text:
            compose([text])
    assert {str(file.relative_to(REPOSITORY)) for file in (REPOSITORY / "tests/paper").glob("test_*.py")} <= named


def test_classes_on_a_page_are_those_of_the_example() -> None:
    def classes(code: str) -> dict[str, str]:
        return {node.name: ast.unparse(node) for node in ast.parse(code).body if isinstance(node, ast.ClassDef)}

    ours = {name: code for file in PROJECT.glob("*.py") for name, code in classes(file.read_text()).items()}
    pages = [text for page in PAGES for language, text in blocks(page) if language == "python"]
    assert {name: code for text in pages for name, code in classes(text).items()} == ours
