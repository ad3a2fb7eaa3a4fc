"""Runs are pooled if they are the same but for the seed, whatever a label shows of them; none is lost or counted twice."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marl.cli.plot import _marl_eval
from marl.runs.labels import LONGEST, distinct, joined
from marl.runs.results import Group, find, grouped

Change = Mapping[str, Any]


def write(folder: Path, seed: int = 0, env: Change | None = None, critic: Change | None = None, **more: Any) -> None:
    """Writes what a run of 20 steps leaves; more: keys of the configuration or, if they are of the summary, of that."""
    parts = {"env": {"_target_": "mine.Env", **(env or {})}, "critic": {"_target_": "mine.Critic", **(critic or {})}}
    summary = {"environment": "a" * 64, "code": {}}
    config = {**parts, "trainer": {"_target_": "mine.Trainer"}, "steps": 20, "seed": seed}
    for key, value in more.items():
        (summary if key in summary else config)[key] = value
    if summary["code"] is None:
        del summary["code"]
    scores = {"status": "finished", "steps": 20, "seed": seed, "replicas": 1, "average_reward": [float(seed)]}
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra/config.yaml").write_text("{}")
    (folder / "summary.json").write_text(json.dumps({**scores, **summary, "config": config}))
    np.savez(folder / "metrics.npz", **{"step": np.array([10, 20]), "train/average_reward": np.full((2, 1), float(seed))})


def groups_of(*places: Path) -> list[Group]:
    groups = grouped(find(places)[0])
    assert len({group.label for group in groups}) == len(groups)
    layout = _marl_eval(groups)
    runs = [run for tasks in layout.values() for task in tasks.values() for each in task.values() for run in each]
    assert len(runs) == sum(len(group.seeds) for group in groups)
    return groups


LONG = "a_directory_with_a_long_name/and_a_file_of_a_name_that_is_long_too"
DIFFERENT: dict[str, tuple[Change, Change, set[str]]] = {  # of two runs, and their labels
    "value": ({"env": {"p": 1}}, {"env": {"p": 2}}, {"env.p=1", "env.p=2"}),
    "end": ({"env": {"p": f"{LONG}_1"}}, {"env": {"p": f"{LONG}_2"}}, set()),
    "beginning": ({"env": {"p": f"1_{LONG}"}}, {"env": {"p": f"2_{LONG}"}}, set()),
    "middle": ({"env": {"p": f"{LONG}_1_{LONG}"}}, {"env": {"p": f"{LONG}_2_{LONG}"}}, set()),
    "list": ({"env": {"p": [0.5] * 20 + [1] + [0.5] * 20}}, {"env": {"p": [0.5] * 41}}, set()),
    "kind": ({"env": {"p": 1}}, {"env": {"p": "1"}}, {"env.p=1", 'env.p="1"'}),
    "none": ({"env": {"p": None}}, {"env": {"p": "None"}}, {"env.p=null", 'env.p="None"'}),
    "lacking": ({"env": {"p": 1}}, {}, {"env.p=1", "all"}),
    "empty": ({"env": {"p": {}}}, {}, {"all", "number=2"}),
    "module": ({"env": {"_target_": "a.Env"}}, {"env": {"_target_": "b.Env"}}, {"env=a.Env", "env=b.Env"}),
    "class": ({"critic": {"_target_": "a.A"}}, {"critic": {"_target_": "a.B"}}, {"critic=A", "critic=B"}),
    "graph": ({"environment": "b" * 64}, {"environment": "c" * 64}, {"environment=bbbbbbbb", "environment=cccccccc"}),
    "digest": ({"environment": "b" * 64}, {"environment": "b" * 63 + "c"}, set()),
    "code": ({"code": {"critic": "b" * 64}}, {"code": {"critic": "c" * 64}}, set()),
    "own code": ({"code": {"env": "b" * 64}}, {"code": {}}, {"code of env=bbbbbbbb", "all"}),
    "version": ({"code": None}, {}, {"environment=aaaaaaaa as an earlier version noted it", "environment=aaaaaaaa"}),
    "comma": ({"env": {"p": "1, env.q=2", "q": 2}}, {"env": {"p": 1, "q": "2, env.q=2"}}, set()),
}


@pytest.mark.parametrize(("one", "other", "labels"), DIFFERENT.values(), ids=DIFFERENT)
def test_different_runs_are_never_pooled(tmp_path: Path, one: Change, other: Change, labels: set[str]) -> None:
    for k, change in enumerate((one, other)):
        for seed in (0, 1):
            write(tmp_path / f"{k}_{seed}", seed, **change)
    groups = groups_of(tmp_path)
    assert [group.seeds.tolist() for group in groups] == [[0, 1], [0, 1]]
    assert [[place.name for place in group.places] for group in groups] == [["0_0", "0_1"], ["1_0", "1_1"]]
    assert not labels or {group.label for group in groups} == labels
    assert all(len(group.label) < 3 * LONGEST for group in groups)


@pytest.mark.parametrize("change", [{"threads": 2}, {"log_every": 10}, {"force": True}, {"logger": {"_target_": "x"}}])
def test_keys_of_bookkeeping_set_nothing_apart(tmp_path: Path, change: Change) -> None:
    write(tmp_path / "0", 0)
    write(tmp_path / "1", 1, **change)
    assert [(group.label, group.seeds.tolist()) for group in groups_of(tmp_path)] == [("all", [0, 1])]


def test_the_order_of_keys_sets_nothing_apart(tmp_path: Path) -> None:
    write(tmp_path / "0", 0, env={"p": 1, "q": {"a": 1, "b": 2}})
    write(tmp_path / "1", 1, env={"q": {"b": 2, "a": 1}, "p": 1})
    assert [group.seeds.tolist() for group in groups_of(tmp_path)] == [[0, 1]]


def test_marks_are_shown_where_words_do_not_tell(tmp_path: Path) -> None:
    for k, (p, digest) in enumerate([(1, "b"), (1, "c"), (2, "d")]):
        write(tmp_path / str(k), env={"p": p}, environment=digest * 64)
    labels = [group.label for group in groups_of(tmp_path)]
    assert labels == ["env.p=1, environment=bbbbbbbb", "env.p=1, environment=cccccccc", "env.p=2"]


def test_many_long_names() -> None:
    names = [f"{LONG}_{k}_{LONG}" for k in range(50)]
    labels = [joined(differs) for differs in distinct([{"env": {"p": name}} for name in names], [{}] * 50)]
    assert len(set(labels)) == 50
    assert max(map(len, labels)) < 2 * LONGEST


def test_links_are_followed_and_no_run_is_counted_twice(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere/0", 0)
    write(tmp_path / "elsewhere/1", 1)
    write(tmp_path / "runs/2", 2)
    runs = tmp_path / "runs"
    (runs / "one").symlink_to(tmp_path / "elsewhere/0")  # a run
    (runs / "many").symlink_to(tmp_path / "elsewhere")  # a directory of runs, that one among them
    (runs / "2/round").symlink_to(runs)  # a circle
    (runs / "self").symlink_to(runs / "self")
    (runs / "gone").symlink_to(tmp_path / "nothing")
    (tmp_path / "link").symlink_to(runs)
    for places in ([runs], [tmp_path / "link"], [runs, runs / "2", tmp_path / "elsewhere"], [runs / "2", tmp_path]):
        found, left_out = find(places)
        assert sorted(run.summary["seed"] for run in found) == [0, 1, 2]
        assert left_out == []
        assert [group.seeds.tolist() for group in groups_of(*places)] == [[0, 1, 2]]
    assert [run.summary["seed"] for run in find([runs / "one"])[0]] == [0]


def test_a_run_without_hidden_files_is_a_run(tmp_path: Path) -> None:
    """`cp -r run/* there` leaves `.hydra` behind."""
    write(tmp_path / "0")
    (tmp_path / "0/.hydra/config.yaml").unlink()
    (tmp_path / "0/.hydra").rmdir()
    assert len(find([tmp_path])[0]) == 1


def test_a_directory_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "0", 0)
    write(tmp_path / "1", 1)
    scan = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("1"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found, left_out = find([tmp_path])
    assert [run.path.name for run in found] == ["0"]
    assert left_out == [f"{tmp_path / '1'}: cannot be read"]
