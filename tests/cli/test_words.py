"""Commands without a configuration: directories and KEY=VALUE in any order, and what is refused."""

from pathlib import Path

import pytest

from marl.cli import words
from marl.core.errors import ConfigError

KEYS: words.Keys = {"eval.steps": (words.number, 20000), "seed": (words.number, None), "out": (Path, Path("plot"))}


@pytest.mark.parametrize(
    ("line", "places", "given"),
    [
        ("", [], {}),
        ("run", ["run"], {}),
        ("run seed=3", ["run"], {"seed": 3}),
        ("seed=3 run out=a=b more", ["run", "more"], {"seed": 3, "out": Path("a=b")}),
        ("run seed=3 seed=4", ["run"], {"seed": 4}),
        ("run eval.steps=-5 seed=null", ["run"], {"eval.steps": -5}),
        ("a/steps=5/seed=0 eval.steps=1e3", ["a/steps=5/seed=0"], {"eval.steps": 1000.0}),
        ("run eval.step=3 eval.steps", ["run", "eval.step=3", "eval.steps"], {}),
    ],
)
def test_words(line: str, places: list[str], given: dict[str, object]) -> None:
    found = words.read("evaluate", line.split(), KEYS)
    assert found == (places, {"eval.steps": 20000, "seed": None, "out": Path("plot"), **given})


def test_a_directory_may_be_named_like_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are in directories such as seed=0, and one may stand beside them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seed=0").mkdir()
    places, given = words.read("evaluate", ["seed=0", "seed=0"], KEYS)
    assert (places, given["seed"]) == (["seed=0"], 0)


@pytest.mark.parametrize("text", ["abc", "", "[1", "3x", "true"])
def test_a_number_typed_wrongly_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        words.read("evaluate", ["run", f"eval.steps={text}"], KEYS)
    assert str(refused.value) == f"eval.steps must be a number, got {text!r}"


@pytest.mark.parametrize("option", ["--seed=3", "--eval", "-x"])
def test_there_are_no_options(option: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no option '{option}'; marl evaluate --help"):
        words.read("evaluate", ["run", option], KEYS)


def test_too_few_or_too_many_words_meet_the_usage() -> None:
    usage = "marl export takes RUN_DIR FILE [replica=B] [trust=true], got "
    assert str(words.other_words("export", [])) == usage + "nothing"
    assert str(words.other_words("export", ["run", "a", "b=c"])) == usage + "'run', 'a', 'b=c'"
