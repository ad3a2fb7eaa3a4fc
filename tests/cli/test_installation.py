"""Another distribution that is called `marl` is told from this one, whatever was installed under that name."""

from pathlib import Path

import pytest

from marl.cli.installation import other_distribution


def installed(site: Path, name: str, *files: str) -> None:
    folder = site / f"{name}-1.0.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n", encoding="utf-8")
    (folder / "RECORD").write_text("".join(f"{file},sha256=47DEQpj8HBSa,0\n" for file in files), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "files", "told"),
    [
        ("marl", ["marl/__init__.py", "marl/agent/__init__.py"], True),
        ("marl", ["__editable__.marl-1.0.0.pth"], False),
        ("networked_marl", ["marl/__init__.py"], False),
        ("marlin", ["marl/__init__.py"], False),
    ],
)
def test_it_is_told_from_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, files: list[str], told: bool
) -> None:
    installed(tmp_path, name, *files)
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    sentence = other_distribution()
    assert (sentence is not None) == told
    assert sentence is None or "marl 1.0.0, is installed beside networked-marl" in sentence


def test_what_an_earlier_build_left_in_a_checkout_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library was called marl itself."""
    left = tmp_path / "marl.egg-info"
    left.mkdir()
    (left / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: marl\nVersion: 0.1.0\n", encoding="utf-8")
    (left / "SOURCES.txt").write_text("marl/__init__.py\n", encoding="utf-8")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert other_distribution() is None


def test_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert other_distribution() is None
