"""Explicit tables: their law in plain loops, every form and shape, files, and a refusal for every bad table."""

import itertools
import math
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs import LocalMDP, local_mdp_from_file
from marl.testing import check_environment, random_inputs

Tables = list[np.ndarray]


def near(network: Network, i: int) -> list[int]:
    """N_i by the list of edges."""
    return sorted({i, *(j for edge in network.edges.tolist() if i in edge for j in edge)})


def drawn(
    network: Network,
    states: list[int],
    actions: list[int],
    forms: str,
    reward_forms: str,
    low: float = 0.0,
    high: float = 1.0,
    zeros: float = 0.0,
) -> tuple[Tables, Tables]:
    """Random tables; forms[i] is "p" (private) or "g" (general); `zeros` is the share of impossible next states."""
    rng = np.random.default_rng(0)
    laws, rewards = [], []
    for i in range(network.n):
        pairs = [size for j in near(network, i) for size in (states[j], actions[j])]
        shape = [states[j] for j in near(network, i)] + [actions[i]] if forms[i] == "p" else pairs
        weight = rng.random((*shape, states[i])) * (rng.random((*shape, states[i])) >= zeros)
        weight[..., 0] += 1e-3
        laws.append(weight / weight.sum(axis=-1, keepdims=True))
        rewards.append(rng.uniform(low, high, [states[i], actions[i]] if reward_forms[i] == "p" else pairs))
    return laws, rewards


LINE, STAR = Network.line(4), Network.from_edges(5, [(2, 0), (2, 1), (2, 4)])
CASES: dict[str, tuple[Network, list[int], list[int], str, str, float, float]] = {
    "private": (LINE, [2, 2, 2, 2], [3, 3, 3, 3], "pppp", "pppp", 0.0, 1.0),
    "general": (LINE, [2, 2, 2, 2], [3, 3, 3, 3], "gggg", "gggg", 0.0, 1.0),
    "mixed": (LINE, [2, 3, 2, 2], [2, 1, 3, 2], "pgpg", "gppg", 0.0, 1.0),
    "heterogeneous, isolated": (STAR, [2, 3, 1, 5, 2], [3, 1, 2, 4, 1], "ppgpg", "gpgpp", 0.0, 1.0),
    "signed": (Network.ring(3), [3, 2, 4], [2, 2, 2], "pgg", "pgp", -2.5, 0.5),
    "one agent": (Network.line(1), [4], [2], "p", "p", 3.0, 4.0),
    "private actions only": (Network.line(2), [2, 3], [2, 2], "pp", "pg", 0.0, 1.0),
    "private rewards only": (Network.line(2), [2, 3], [2, 2], "gp", "pp", 0.0, 1.0),
    "nobody has a neighbor": (Network.from_edges(2, []), [2, 3], [2, 1], "pp", "pp", -1.0, 1.0),
}


@pytest.fixture(params=CASES, ids=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[LocalMDP, Tables, Tables, str, str]:
    network, states, actions, forms, reward_forms, low, high = CASES[request.param]
    laws, rewards = drawn(network, states, actions, forms, reward_forms, low, high, zeros=0.2)
    env = LocalMDP(network, laws, rewards)
    assert (env.num_states.tolist(), env.num_actions.tolist()) == (states, actions)
    return env, laws, rewards, forms, reward_forms


def test_contract(case: tuple[LocalMDP, Tables, Tables, str, str]) -> None:
    check_environment(case[0], draws=4_000)


def test_facts(case: tuple[LocalMDP, Tables, Tables, str, str]) -> None:
    env, _, rewards, forms, reward_forms = case
    connected = [len(near(env.network, i)) > 1 for i in range(env.n)]
    assert env.private_actions == all(f == "p" or not c for f, c in zip(forms, connected, strict=True))
    assert env.private_rewards == all(f == "p" or not c for f, c in zip(reward_forms, connected, strict=True))
    assert env.reward_range == (min(table.min() for table in rewards), max(table.max() for table in rewards))
    assert env.num_uniforms == 1
    for i in range(env.n):
        assert env.action_mask[i, : env.num_states[i], : env.num_actions[i]].all()
        assert int(env.action_mask[i].sum()) == int(env.num_states[i] * env.num_actions[i])


def test_transition_and_reward_are_the_entries_of_the_tables(case: tuple[LocalMDP, Tables, Tables, str, str]) -> None:
    env, laws, rewards, forms, reward_forms = case
    s, a, _ = random_inputs(env, 40, 0)
    law, reward = env.transition(s, a), env.reward(s, a)
    for b, i in itertools.product(range(40), range(env.n)):
        own = (int(s[b, i]), int(a[b, i]))
        pairs = tuple(int(x) for j in near(env.network, i) for x in (s[b, j], a[b, j]))
        seen = (*(int(s[b, j]) for j in near(env.network, i)), own[1]) if forms[i] == "p" else pairs
        row = laws[i][seen].tolist()
        assert law[b, i].tolist() == row + [0.0] * (law.shape[-1] - len(row))
        assert reward[b, i] == rewards[i][own if reward_forms[i] == "p" else pairs]


def test_private_tables_are_general_ones_that_ignore_others() -> None:
    network, states, actions = Network.line(3), [2, 3, 2], [3, 2, 2]
    laws, rewards = drawn(network, states, actions, "ppp", "ppp")
    wide_laws, wide_rewards = [], []
    for i in range(3):
        around = near(network, i)
        shape = [size for j in around for size in (states[j], actions[j])]
        law_view = [size for j in around for size in (states[j], actions[j] if j == i else 1)]
        reward_view = [size for j in around for size in ((states[j], actions[j]) if j == i else (1, 1))]
        at = around.index(i)
        ordered = np.moveaxis(laws[i], len(around), at + 1)  # [S.., a_i, s_i'] -> a_i right behind s_i
        wide_laws.append(np.broadcast_to(ordered.reshape(*law_view, states[i]), (*shape, states[i])))
        wide_rewards.append(np.broadcast_to(rewards[i].reshape(reward_view), shape))
    private, general = LocalMDP(network, laws, rewards), LocalMDP(network, wide_laws, wide_rewards)
    assert (private.private_actions, general.private_actions) == (True, False)
    assert (private.private_rewards, general.private_rewards) == (True, False)
    inputs = random_inputs(private, 200, 0)
    assert torch.equal(private.transition(*inputs[:2]), general.transition(*inputs[:2]))
    for one, other in zip(private.step(*inputs), general.step(*inputs), strict=True):
        assert torch.equal(one, other)


def test_start_is_uniform_over_each_agents_states() -> None:
    env = LocalMDP(Network.line(2), *drawn(Network.line(2), [2, 3], [1, 1], "pp", "pp"))
    u = (torch.arange(6, dtype=torch.float64) / 6 + 1e-9).reshape(6, 1, 1).expand(6, 2, 1)
    assert env.reset(u).T.tolist() == [[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]]


def test_tensors_and_lists_are_tables_too() -> None:
    env = LocalMDP(Network.line(1), [torch.tensor([[[0.25, 0.75]], [[1.0, 0.0]]])], [[[1], [2]]])
    assert env.transition(torch.tensor([0]), torch.tensor([0])).tolist() == [[0.25, 0.75]]
    assert env.reward(torch.tensor([1]), torch.tensor([0])).tolist() == [2.0]


def test_rows_that_are_nearly_one_are_made_one_and_good_rows_keep_their_bits() -> None:
    """... or the missing 1e-10 would go to the last state, which is impossible here."""
    rough, good = [0.5 - 1e-10, 0.5, 0.0], [0.1, 0.2, 0.7]
    env = LocalMDP(Network.line(1), [np.array([[rough], [good], [good]])], [np.zeros((3, 1))])
    s, a = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    assert float(env.transition(s, a).sum()) == pytest.approx(1.0, abs=1e-15)
    assert env.transition(s + 1, a)[0].tolist() == good
    last = torch.full((1, 1, 1), 1 - 1e-11, dtype=torch.float64)
    assert env.step(s[None], a[None], last)[0].tolist() == [[1]]
    assert LocalMDP(env.network, *env.as_tables()).transition(s, a).tolist() == env.transition(s, a).tolist()


def test_a_large_ring_is_laid_out_at_once() -> None:
    n = 20_000
    law, rewards = np.full((2, 2, 2, 3, 2), 0.5), np.arange(6.0).reshape(2, 3)
    env = LocalMDP(Network.ring(n), [law] * n, [rewards] * n)
    s, a, _ = random_inputs(env, 2, 0)
    assert torch.equal(env.reward(s, a), (3 * s + a).double())
    assert env.transition_values.shape == (24 * n, 2)


# --- files


def test_round_trip(case: tuple[LocalMDP, Tables, Tables, str, str], tmp_path: Path) -> None:
    env, laws, rewards, *_ = case
    env.save(tmp_path / "tables.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["tables.npz"]
    back = local_mdp_from_file(str(tmp_path / "tables.npz"))
    assert np.array_equal(back.network.edges, env.network.edges)
    assert (back.n, back.private_actions, back.private_rewards) == (env.n, env.private_actions, env.private_rewards)
    for tables, expected in zip(back.as_tables(), (laws, rewards), strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(tables, expected, strict=True))
    inputs = random_inputs(env, 20, 1)
    for x, y in zip(env.step(*inputs), back.step(*inputs), strict=True):
        assert torch.equal(x, y)


def test_saving_where_nothing_can_be_saved(tmp_path: Path) -> None:
    env = LocalMDP(Network.line(1), [np.ones((1, 1, 1))], [np.ones((1, 1))])
    with pytest.raises(ConfigError, match=r"tables cannot be written to .*nowhere.*: No such file"):
        env.save(tmp_path / "nowhere" / "tables.npz")


ONE = {"n": np.array(1), "edges": np.empty((0, 2), dtype=np.int64)}
ONE |= {"transition_0": np.full((2, 1, 2), 0.5), "reward_0": np.zeros((2, 1))}
FILES: list[tuple[str, dict[str, Any] | bytes | None, str]] = [
    ("missing", None, "cannot be read: No such file or directory"),
    ("text", b"0 1\n", "is no .npz file"),
    ("empty", b"", "is no .npz file"),
    ("no n", {name: ONE[name] for name in ONE if name != "n"}, "has no array 'n'"),
    ("no edges", {name: ONE[name] for name in ONE if name != "edges"}, "has no array 'edges'"),
    ("no reward", {name: ONE[name] for name in ONE if name != "reward_0"}, "has no array 'reward_0'"),
    ("no second agent", {**ONE, "n": 2}, "has no array 'transition_1'"),
    ("agents without end", {**ONE, "n": 10**15}, "has no array 'transition_1'"),
    ("one too many", {**ONE, "transition_1": np.ones(1)}, "there are 1 agents, so there can be no array 'transition_1'"),
    ("objects", {**ONE, "reward_0": np.array([[None], [{}]])}, "reward_0 holds Python objects, not numbers"),
    ("words", {**ONE, "reward_0": np.array([["a"], ["b"]])}, "reward[0] must hold real numbers, got dtype <U1"),
    ("many n", {**ONE, "n": np.array([1, 2])}, "n must be one whole number, got an array of shape (2,)"),
    ("half n", {**ONE, "n": 1.5}, "n must be a whole number of at least 1, got 1.5"),
    ("no agents", {**ONE, "n": 0}, "n must be a whole number of at least 1, got 0"),
    ("edge out of range", {**ONE, "edges": [[0, 1]]}, "an edge names node 1, but nodes are numbered 0 to 0"),
    ("edges of three", {**ONE, "edges": [[0, 1, 2]]}, "edges must be pairs of node numbers"),
    ("bad row", {**ONE, "transition_0": np.full((2, 1, 2), 0.4)}, "transition[0] row (0, 0) sums to 0.8"),
]


@pytest.mark.parametrize(("content", "words"), [case[1:] for case in FILES], ids=[name for name, *_ in FILES])
def test_bad_files(tmp_path: Path, content: dict[str, Any] | bytes | None, words: str) -> None:
    path = tmp_path / "bad.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.savez(path, **content)
    with pytest.raises(ConfigError) as raised:
        local_mdp_from_file(path)
    assert str(raised.value).startswith(f"env.path={path}")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_good_file_is_what_the_bad_ones_are_not(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", **ONE)  # type: ignore[arg-type]
    assert local_mdp_from_file(tmp_path / "good.npz").num_states.tolist() == [2]


def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **ONE)  # type: ignore[arg-type]
    content = bytearray(path.read_bytes())
    at = content.index(np.full(4, 0.5).tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad.npz is damaged: transition_0 cannot be read \(Bad CRC"):
        local_mdp_from_file(path)


@pytest.mark.parametrize("path", [None, 3, "a\0b", "."])
def test_a_path_that_is_none(monkeypatch: pytest.MonkeyPatch, path: Any) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=r"env\.path"):
        local_mdp_from_file(path)


# --- bad tables: a line of three with sizes S = (2, 3, 2), A = (2, 2, 1)


def spoiled(where: str, i: int, place: tuple[int, ...], value: float) -> tuple[Tables, Tables]:
    laws, rewards = drawn(Network.line(3), [2, 3, 2], [2, 2, 1], "pgp", "ppg")
    (laws if where == "transition" else rewards)[i][place] = value
    return laws, rewards


def replaced(where: str, i: int, table: Any) -> tuple[Any, Any]:
    laws, rewards = drawn(Network.line(3), [2, 3, 2], [2, 2, 1], "pgp", "ppg")
    (laws if where == "transition" else rewards)[i] = table
    return laws, rewards


def halves(*shape: int) -> np.ndarray:
    return np.full(shape, 1 / shape[-1])


LAW1 = (1, 0, 2, 1, 0, 0)
WIDE = [halves(1000, 1, 1, 1000), halves(1000, 1, 1, 200, 1), halves(1, 1, 1, 1)]  # small, but 200,000 padded rows
UNEVEN = halves(2, 3, 2, 2) * [[[[1.0]]], [[[0.9]]]]
AXES1 = "[S_0, S_1, S_2, A_1, s'] or the 7 axes [S_0, A_0, S_1, A_1, S_2, A_2, s'], got shape (2, 3, 2, 3)"
BAD: list[tuple[str, tuple[Any, Any], str]] = [
    ("nan", spoiled("transition", 1, (*LAW1, 2), math.nan), "transition[1] has nan at (1, 0, 2, 1, 0, 0, 2)"),
    ("inf", spoiled("transition", 1, (*LAW1, 2), math.inf), "transition[1] has inf at (1, 0, 2, 1, 0, 0, 2)"),
    ("negative", spoiled("transition", 2, (2, 1, 0, 1), -0.25), "transition[2] has -0.25 at (2, 1, 0, 1); probabilities"),
    ("nan reward", spoiled("reward", 0, (1, 1), math.nan), "reward[0] has nan at (1, 1); rewards must be finite"),
    ("inf reward", spoiled("reward", 2, (0, 1, 1, 0), -math.inf), "reward[2] has -inf at (0, 1, 1, 0)"),
    ("row", replaced("transition", 0, UNEVEN), "transition[0] row (1, 0, 0) sums to 0.9, off by 0.1"),
    (
        "1e-8",
        replaced("transition", 0, halves(2, 3, 2, 2) + 5e-9),
        "transition[0] row (0, 0, 0) sums to 1.00000001, off by 1e-08",
    ),
    ("axes", replaced("transition", 1, halves(2, 3, 2, 3)), f"transition[1] must have the 5 axes {AXES1}"),
    (
        "reward axes",
        replaced("reward", 0, halves(2)),
        "reward[0] must have the 2 axes [S_0, A_0] or the 4 axes [S_0, A_0, S_1, A_1], got shape (2,)",
    ),
    (
        "neighbor",
        replaced("transition", 0, halves(2, 2, 2, 2)),
        "transition[0] must have shape (2, 3, 2, 2) = [S_0, S_1, A_0, s'], got (2, 2, 2, 2)",
    ),
    (
        "general",
        replaced("transition", 1, halves(2, 2, 3, 2, 2, 2, 3)),
        "transition[1] must have shape (2, 2, 3, 2, 2, 1, 3) =",
    ),
    (
        "own",
        replaced("transition", 2, halves(3, 4, 1, 2)),
        "transition[2] must have shape (3, 2, 1, 2) = [S_1, S_2, A_2, s']",
    ),
    ("reward shape", replaced("reward", 1, halves(3, 3)), "reward[1] must have shape (3, 2) = [S_1, A_1], got (3, 3)"),
    (
        "reward pair",
        replaced("reward", 2, halves(3, 2, 1, 2)),
        "reward[2] must have shape (3, 2, 2, 1) = [S_1, A_1, S_2, A_2]",
    ),
    (
        "empty",
        replaced("transition", 2, np.ones((3, 2, 0, 2))),
        "transition[2] has an empty axis: its shape is (3, 2, 0, 2)",
    ),
    ("words", replaced("reward", 0, [["a", "b"], ["c", "d"]]), "reward[0] must hold real numbers, got dtype <U1"),
    (
        "complex",
        replaced("reward", 0, np.ones((2, 2), dtype=complex)),
        "reward[0] must hold real numbers, got dtype complex128",
    ),
    ("ragged", replaced("reward", 0, [[1.0, 2.0], [3.0]]), "reward[0] is no array"),
    ("none", replaced("transition", 0, None), "transition[0] must hold real numbers, got dtype object"),
    ("two laws", (halves(2, 2, 2), halves(3, 1, 1)), "transition needs 3 tables, one for each agent, got 2"),
    ("four rewards", (halves(3, 1, 1), halves(4, 1, 1)), "reward needs 3 tables, one for each agent, got 4"),
    ("no list", (0.5, []), "transition must be a list with one array per agent, got float"),
    (
        "too many",
        (WIDE, [halves(1000, 1), halves(1, 200), halves(1, 1)]),
        "the tables need 2.02e+08 entries, more than 134217728",
    ),
]


@pytest.mark.parametrize(("given", "words"), [case[1:] for case in BAD], ids=[name for name, *_ in BAD])
def test_bad_tables(monkeypatch: pytest.MonkeyPatch, given: tuple[Any, Any], words: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # what a user sees who gives a wrong type
    with pytest.raises(ConfigError) as raised:
        LocalMDP(Network.line(3), *given)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
