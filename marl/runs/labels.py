"""Groups of runs are shown to people by what differs between them, and no two groups by the same words."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from marl.loggers.flatten import flatten

LONGEST = 40
"""Most characters of a value in a label."""
DIGEST = 8
"""Characters of a digest that are shown."""


def distinct(settings: Sequence[Mapping[str, Any]], marks: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Names groups by what differs: key -> "name=value", in which no two groups are the same when `joined`.

    settings: of every group; marks: what tells groups of the same settings apart, "part.kind" -> digest. Where words are
    the same for two groups, keys that one of them lacks are added, then marks, then a number.
    """
    flat = [flatten(one) for one in settings]
    named: list[dict[str, str]] = [{} for _ in flat]
    for key in _keys(flat):
        texts = _texts(key, [one[key] for one in flat if key in one])
        if len(texts) > 1:
            _add(named, key, [texts[json.dumps(one[key])] if key in one else None for one in flat])
    for key in _keys(flat):
        texts = _texts(key, [one[key] for one in flat if key in one])
        _add_where_needed(named, key, [texts[json.dumps(one[key])] if key in one else None for one in flat])
    for key in _keys(marks):
        _add_where_needed(named, key, [_shown_mark(key, one[key]) if key in one else None for one in marks])
    while again := _same(named):
        for number, k in enumerate(again[0][1:], start=2):
            named[k]["number"] = f"number={number}" if "number" not in named[k] else f"{named[k]['number']}.{number}"
    return named


def joined(differs: Mapping[str, str]) -> str:
    """Returns the label of a group in one line."""
    return ", ".join(differs.values()) or "all"


def _keys(each: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for one in each for key in one))


def _same(named: Sequence[Mapping[str, str]]) -> list[list[int]]:
    """Lists the groups, two or more, that share a label."""
    sharing: dict[str, list[int]] = {}
    for k, differs in enumerate(named):
        sharing.setdefault(joined(differs), []).append(k)
    return [groups for groups in sharing.values() if len(groups) > 1]


def _add(named: Sequence[dict[str, str]], key: str, texts: Sequence[str | None]) -> None:
    for differs, text in zip(named, texts, strict=True):
        if text is not None:
            differs[key] = text


def _add_where_needed(named: Sequence[dict[str, str]], key: str, texts: Sequence[str | None]) -> None:
    """Adds what differs between groups that share a label to these groups."""
    for groups in _same(named):
        if len({texts[k] for k in groups}) > 1:
            _add([named[k] for k in groups], key, [texts[k] for k in groups])


def _texts(key: str, values: Iterable[Any]) -> dict[str, str]:
    """Writes the values of a key as "name=value", as short as they stay different."""
    name, each = key.removesuffix("._target_"), {json.dumps(value): value for value in values}
    last_name = (lambda value: str(value).rpartition(".")[2]) if key != name else str
    forms: list[Callable[[Any], str]] = [
        lambda value: _beginning(last_name(value)),
        lambda value: _both_ends(str(value)),
        lambda value: _both_ends(json.dumps(value)),
    ]
    for form in forms:
        shown = {known: form(value) for known, value in each.items()}
        if len(set(shown.values())) == len(shown):
            break
    else:
        shown = {known: f"{_beginning(str(value))} ({k})" for k, (known, value) in enumerate(each.items(), start=1)}
    return {known: f"{name}={text}" for known, text in shown.items()}


def _beginning(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _both_ends(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2 - 3]}...{text[-LONGEST // 2 :]}"


def _shown_mark(key: str, digest: str) -> str:
    part, _, kind = key.partition(".")
    name = kind if kind == "environment" else f"{kind} of {part}"
    return f"{name}={digest[:DIGEST]}" + digest[64:]
