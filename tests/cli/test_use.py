"""A trained policy, loaded and used: in Python, and as a plain file."""

import json
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

import marl
from marl import ConfigError, NeuralPolicy, TabularSoftmax, WirelessAccess, export_policy, load_policy
from marl.kernels import workers
from marl.runs import evaluate_run
from marl.testing import random_inputs
from tests.cli.command import SMALL, Marl, assert_refused, command_in


@pytest.fixture(scope="module", params=["softmax", "neural"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("use")
    small = (
        "env.rows=2",
        "env.cols=3",
        "steps=300",
        "eval.steps=0",
        "logger=none",
        "replicas=3",
        "env.deadline=[1,2,3,2,1,2]",
    )
    with command_in(directory) as command:
        assert command("train", f"policy={request.param}", *small, "hydra.run.dir=run").code == 0
    return directory / "run"


def test_one_replica_is_that_of_all(run: Path) -> None:
    whole = load_policy(run)
    s = random_inputs(whole.env, 50, 0)[0]
    assert whole.replicas == 3
    for b in range(3):
        one = marl.load_policy(str(run), replica=b)
        assert one.replicas == 1
        for state in s:
            torch.testing.assert_close(one.probs(state[None])[0], whole.probs(state.expand(3, -1))[b], rtol=1e-12, atol=0.0)
    assert not torch.equal(whole.probability_table()[0], whole.probability_table()[1])
    with pytest.raises(ConfigError, match="replicas 0 to 2, got replica=3"):
        load_policy(run, replica=3)


@pytest.mark.parametrize("policy", ["random_table", "uniform", "aloha", "shared"])
def test_a_policy_with_nothing_of_its_own_per_replica(tmp_path: Path, policy: str) -> None:
    """What all replicas have in common, such as a table that was drawn once, is not cut."""
    small = ("env.rows=2", "env.cols=3", "steps=40", "eval.steps=0", "logger=none", "replicas=2")
    with command_in(tmp_path) as command:
        assert command("train", f"policy={policy}", *small, "hydra.run.dir=run").code == 0
    whole, one = load_policy(tmp_path / "run"), load_policy(tmp_path / "run", replica=1)
    assert one.replicas == 1
    for state in random_inputs(whole.env, 20, 0)[0]:
        torch.testing.assert_close(one.probs(state[None])[0], whole.probs(state.expand(2, -1))[1], rtol=1e-12, atol=0.0)


def test_actions_follow_the_policy(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 draws: 5 standard errors at every agent and action are passed with probability below 1e-4 in all."""
    policy = load_policy(run, replica=0)
    s, draws = policy.env.num_states - 1, 20_000
    generator = torch.Generator().manual_seed(0)
    first = policy.act(s, generator)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # checks of shapes take most of the time
    drawn = torch.stack([first, *(policy.act(s, generator) for _ in range(draws - 1))])
    for a in range(policy.env.action_mask.shape[2]):
        p = policy.probs(s[None])[0, :, a]
        error = (p * (1 - p) / draws).sqrt()
        assert ((((drawn == a).double().mean(dim=0)) - p).abs() <= 5 * error + 1e-12).all()
    generator.manual_seed(0)
    assert torch.equal(policy.act(s.tolist(), generator), drawn[0])


def test_threads_of_the_program_stay(run: Path, cores: int) -> None:
    """A run has threads of its own, one if it says nothing; whoever calls keeps what was set."""
    torch.set_num_threads(2)
    workers.use(1)
    try:
        load_policy(run)
        evaluate_run(run, 40)
        with command_in(run.parent) as marl:
            assert marl("train", *SMALL, "hydra.run.dir=threads").code == 0
        assert (torch.get_num_threads(), workers.allowed()) == (2, 1)
    finally:
        torch.set_num_threads(1)


def test_shapes_and_refusals(run: Path) -> None:
    whole, one = load_policy(run), load_policy(run, replica=1)
    zeros = np.zeros(6, dtype=np.int64)
    assert one.act(zeros).shape == (6,)
    assert one.act(zeros[None]).shape == (1, 6)
    assert whole.act(zeros).shape == whole.act(np.zeros((3, 6), dtype=np.int64)).shape == (3, 6)
    for wrong in (np.zeros(5, dtype=np.int64), np.zeros((2, 6), dtype=np.int64), np.zeros(6)):
        with pytest.raises(ConfigError, match="a state is 6 integers"):
            whole.act(wrong)
    with pytest.raises(ConfigError, match="agent 1 has states 0 to 3, got 4"):
        one.act([0, 4, 0, 0, 0, 0])


def test_the_files_hold_every_probability(run: Path, tmp_path: Path) -> None:
    policy = load_policy(run)
    export_policy(policy, tmp_path / "deep" / "policy.json")
    export_policy(policy, tmp_path / "policy.npz")
    written = json.loads((tmp_path / "deep" / "policy.json").read_text())
    assert written["format"] == "marl policy 1"
    env = policy.env
    with np.load(tmp_path / "policy.npz") as arrays:
        table = arrays["probabilities"]
        assert arrays["num_states"].tolist() == env.num_states.tolist()
        assert arrays["num_actions"].tolist() == env.num_actions.tolist()
    for b in range(3):
        for i in range(env.n):
            assert len(written["policy"][b][i]) == env.num_states[i]
            for s, row in enumerate(written["policy"][b][i]):
                state = torch.zeros(3, env.n, dtype=torch.int64)
                state[:, i] = s
                expected = policy.probs(state)[b, i].tolist()
                assert len(row) == env.num_actions[i]
                assert row == pytest.approx(expected[: len(row)], rel=1e-12)
                assert table[b, i, s].tolist() == pytest.approx(expected, rel=1e-12)
                assert sum(row) == pytest.approx(1.0)
            assert not table[b, i, int(env.num_states[i]) :].any()


def test_export_from_the_command_line(run: Path, tmp_path: Path) -> None:
    with command_in(tmp_path) as command:
        assert command("export", str(run), "policy.json", "replica=2").code == 0
        written = json.loads((tmp_path / "policy.json").read_text())["policy"]
        expected = load_policy(run).probability_table()[2, 0, 0, : len(written[0][0][0])].tolist()
        assert len(written) == 1
        assert written[0][0][0] == pytest.approx(expected)
        assert_refused(command("export", str(run)), "RUN_DIR FILE")
        assert_refused(command("export", str(run), "policy.txt"), ".json or .npz", "policy.txt")
        assert_refused(command("export", "nowhere", "policy.json"), "no checkpoint at nowhere")
        assert_refused(command("export", str(run), "policy.json", "replica=x"), "replica", "'x'")


@pytest.mark.parametrize("kind", [TabularSoftmax, NeuralPolicy])
def test_the_table_is_zero_where_nothing_is_legal(kind: type) -> None:
    env = WirelessAccess(rows=2, cols=3, deadline=[1, 2, 3, 2, 1, 2], action_set="any_slot")
    table = kind(env, replicas=2).probability_table()
    assert not table[:, ~env.action_mask].any()
    assert torch.allclose(table.sum(dim=3), env.action_mask.any(dim=2).double().expand(2, -1, -1))


def test_usage_of_marl(marl: Marl) -> None:
    assert marl("export", "--help").code == 0
    assert "curves.png" in marl("plot", "--help").out
