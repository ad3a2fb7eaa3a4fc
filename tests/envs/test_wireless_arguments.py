"""The arguments of the wireless network: defaults, files, and a refusal by name for everything that cannot be meant."""

import json
import math
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.envs import WirelessAccess
from marl.envs.wireless.access import conflict_edges


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No type checks of the test session: what a user sees who gives a wrong type."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def test_probabilities_are_drawn_p_first_then_q() -> None:
    draw = np.random.default_rng(17)
    p, q = draw.random(12), draw.random(2)
    env = WirelessAccess(rows=2, cols=3, users_per_cell=2, instance_seed=17)
    assert (env.arrival.tolist(), env.success.tolist()) == (p.tolist(), q.tolist())
    given = WirelessAccess(rows=2, cols=3, users_per_cell=2, instance_seed=17, arrival=0.25)
    assert (given.arrival.tolist(), given.success.tolist()) == ([0.25] * 12, q.tolist())


def test_incidence_is_read_from_json_and_sorted(tmp_path: Path) -> None:
    (tmp_path / "reach.json").write_text(json.dumps([[1, 0], [2, 1]]))
    for source in (tmp_path / "reach.json", str(tmp_path / "reach.json"), [[1, 0], [2, 1]], ((1, 0), (2, 1))):
        env = WirelessAccess(incidence=source)
        assert (env.access, env.network.edges.tolist(), env.num_points) == ([[0, 1], [1, 2]], [[0, 1]], 3)


REFUSALS: list[tuple[dict[str, object], str]] = [
    ({"rows": 0}, "env.rows"),
    ({"cols": -1}, "env.cols"),
    ({"cols": 1.5}, "env.cols"),
    ({"rows": True}, "env.rows"),
    ({"rows": math.nan}, "env.rows"),
    ({"rows": 1, "cols": 4}, "user 0 has no access point"),
    ({"users_per_cell": 0}, "env.users_per_cell"),
    ({"access_points": "edges"}, "env.access_points must be one of interior, corners"),
    ({"action_set": "latest"}, "env.action_set must be one of earliest, any_slot"),
    ({"instance_seed": -1}, "env.instance_seed"),
    ({"arrival": 1.1}, r"env.arrival\[0\]"),
    ({"arrival": -0.1}, r"env.arrival\[0\]"),
    ({"arrival": math.nan}, r"env.arrival\[0\]"),
    ({"arrival": True}, r"env.arrival\[0\]"),
    ({"arrival": 10**400}, r"env.arrival\[0\]"),
    ({"arrival": "often"}, r"env.arrival\[0\]"),
    ({"arrival": [0.5] * 24}, "env.arrival needs 25 values, one for each user, got 24"),
    ({"arrival": [0.5] * 24 + [2.0]}, r"env.arrival\[24\]"),
    ({"success": [0.5] * 25}, "env.success needs 16 values, one for each access point, got 25"),
    ({"success": math.inf}, r"env.success\[0\]"),
    ({"success": [0.5] * 15 + [None]}, r"env.success\[15\]"),
    ({"deadline": 0}, r"env.deadline\[0\]"),
    ({"deadline": 1.5}, r"env.deadline\[0\]"),
    ({"deadline": [2] * 24}, "env.deadline needs 25 values"),
    ({"deadline": 29}, "env.deadline=29"),
    ({"deadline": 1000}, "env.deadline=1000"),
    ({"deadline": 10**18}, "env.deadline=1000000000000000000"),
    ({"deadline": 10**20}, "env.deadline"),
    ({"deadline": 10**400}, "env.deadline"),
    ({"incidence": []}, "env.incidence must list at least one user"),
    ({"incidence": 5}, "env.incidence must be a list"),
    ({"incidence": {"0": [1]}}, "env.incidence must be a list"),
    ({"incidence": [[0], []]}, "user 1 has no access point"),
    ({"incidence": [[0], [1, 1]]}, r"env.incidence\[1\] names an access point twice"),
    ({"incidence": [[0], 1]}, r"env.incidence\[1\] must be a list of access points"),
    ({"incidence": [[0], [-1]]}, r"env.incidence\[1\]"),
    ({"incidence": [[0], ["a"]]}, r"env.incidence\[1\]"),
    ({"incidence": [[10**15]]}, "env.incidence"),
    ({"incidence": "/no/such/reach.json"}, "env.incidence file '/no/such/reach.json' cannot be read as JSON"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSALS, ids=["-".join(arguments) for arguments, _ in REFUSALS])
def test_refusals_name_the_argument(unchecked: None, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        WirelessAccess(**arguments)  # type: ignore[arg-type]


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "reach.json").write_text("[[0], [1]")
    (tmp_path / "deep.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(ConfigError, match=r"env.incidence file .*deep.json' cannot be read as JSON"):
        WirelessAccess(incidence=str(tmp_path / "deep.json"))
    with pytest.raises(ConfigError, match=r"env.incidence file .*reach.json' cannot be read as JSON"):
        WirelessAccess(incidence=str(tmp_path / "reach.json"))


def test_whole_numbers_may_be_written_as_floats(unchecked: None) -> None:
    env = WirelessAccess(rows=3.0, cols=2.0, users_per_cell=2.0, deadline=2.0, instance_seed=0.0)  # type: ignore[arg-type]
    plain = WirelessAccess(rows=3, cols=2, users_per_cell=2)
    assert env.access == plain.access
    assert torch.equal(env.success, plain.success)


def test_a_short_list_that_means_gigabytes_of_neighbors() -> None:
    with pytest.raises(ConfigError, match="pairs of users share an access point"):
        conflict_edges([[0]] * 12000)
