"""`ExactMonitor` alone: what it hands on, when there is a bound, and what becomes of numbers that do not exist."""

import importlib
import logging
import math
from collections.abc import Sequence
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.logger import Logger, Metrics
from marl.envs import Coloring, random_local_mdp
from marl.exact import Chain, ExactMonitor, certificate, ergodicity, gradient, norm, solve
from marl.policies import NeighborhoodTable, NeuralPolicy, StateIndependentSoftmax, TabularSoftmax, Uniform

monitor_module = importlib.import_module("marl.exact.monitor")
ALL = {"exact/average_reward", "exact/gradient_norm", "exact/theorem2_bound"}
UNBOUNDED = ALL - {"exact/theorem2_bound"}


class Recorder:
    """Writes down what it is given, in a diary that loggers may share."""

    def __init__(self, name: str = "", diary: list[tuple[Any, ...]] | None = None):
        self.name, self.diary = name, [] if diary is None else diary

    def log(self, step: int, metrics: Metrics) -> None:
        self.diary.append((self.name, "log", step, dict(metrics)))

    def flush(self) -> None:
        self.diary.append((self.name, "flush"))

    def close(self) -> None:
        self.diary.append((self.name, "close"))

    @property
    def last(self) -> dict[str, Any]:
        return self.diary[-1][3]


def watched(interaction: float = 0.25, kappa: int = 0, replicas: int = 1, graph: str = "line:3") -> tuple[Any, ...]:
    """(policy, monitor, recorder)."""
    env = random_local_mdp(graph, interaction=interaction)
    policy, recorder = TabularSoftmax(env, replicas=replicas), Recorder()
    return policy, ExactMonitor(env, policy, kappa, [recorder]), recorder


def test_every_logger_is_given_everything_in_order() -> None:
    diary: list[tuple[Any, ...]] = []
    env = random_local_mdp("line:2")
    loggers = [Recorder("one", diary), Recorder("two", diary)]
    monitor = ExactMonitor(env, TabularSoftmax(env), 0, loggers)
    assert isinstance(monitor, Logger)
    assert diary == []
    metrics = {"train/average_reward": np.array([0.5]), "schedule/alpha": 0.1}
    monitor.log(7, metrics)
    monitor.flush()
    monitor.close()
    assert [entry[:2] for entry in diary] == [(name, done) for done in ("log", "flush", "close") for name in ("one", "two")]
    assert set(metrics) == {"train/average_reward", "schedule/alpha"}  # not written into
    for _, _, step, given in diary[:2]:
        assert step == 7
        assert set(given) == {*metrics, *UNBOUNDED}
        assert all(given[tag] is metrics[tag] for tag in metrics)


def test_no_logger_at_all() -> None:
    env = random_local_mdp("line:2")
    monitor = ExactMonitor(env, TabularSoftmax(env), 0, [])
    monitor.log(1, {})
    monitor.close()


def test_it_follows_the_policy_replica_by_replica() -> None:
    policy, monitor, recorder = watched(replicas=3)
    seen = []
    for scale in (0.0, 1.0):
        with torch.no_grad():
            policy.theta.copy_(scale * torch.randn(policy.theta.shape, generator=torch.Generator().manual_seed(1)))
        monitor.log(0, {})
        seen.append(recorder.last)
        assert set(recorder.last) == ALL
        for b in range(3):
            chain = Chain(policy.env, policy, replica=b)
            mean = chain.rewards().mean(axis=1, keepdims=True)
            assert recorder.last["exact/average_reward"][b] == float(solve(chain, mean).J)
            assert recorder.last["exact/gradient_norm"][b] == norm(gradient(chain))
    assert len(set(seen[0]["exact/average_reward"].tolist())) == 1
    assert len(set(seen[1]["exact/average_reward"].tolist())) == 3


def test_it_leaves_the_policy_alone() -> None:
    policy, monitor, _ = watched()
    before, state = policy.theta.detach().clone(), torch.random.get_rng_state()
    monitor.log(0, {})
    assert torch.equal(policy.theta, before)
    assert policy.theta.grad is None
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("kappa", [0, 1, 2, 5])
def test_theorem_2_at_the_kappa_of_the_critic(kappa: int) -> None:
    """sqrt(n) sqrt(2) b / (1 - mu_D); from the radius of the network on nothing is cut off and b is 0."""
    policy, monitor, recorder = watched(kappa=kappa)
    monitor.log(0, {})
    chain = Chain(policy.env, policy)
    bounds = certificate(chain.laws).bounds
    assert bounds is not None
    decay = float(bounds[kappa].max()) if kappa < 2 else 0.0
    limit = math.sqrt(3) * math.sqrt(2) * decay / (1 - ergodicity(chain).mu_D)
    assert recorder.last["exact/theorem2_bound"] == pytest.approx([limit])
    assert (limit > 0) == (kappa < 2)


def test_no_bound_where_nothing_is_certified() -> None:
    _, monitor, recorder = watched(interaction=1.0)
    monitor.log(0, {})
    assert set(recorder.last) == UNBOUNDED
    env = Coloring("line:3", 2)
    ExactMonitor(env, StateIndependentSoftmax(env), 0, [recorder]).log(0, {})
    assert set(recorder.last) == UNBOUNDED


def test_no_bound_without_a_bounded_score() -> None:
    env, recorder = random_local_mdp("line:3", interaction=0.25), Recorder()
    ExactMonitor(env, NeuralPolicy(env), 0, [recorder]).log(0, {})
    assert set(recorder.last) == UNBOUNDED
    assert recorder.last["exact/gradient_norm"][0] > 0
    ExactMonitor(env, Uniform(env, replicas=2), 0, [recorder]).log(0, {})
    assert recorder.last["exact/gradient_norm"].tolist() == [0.0, 0.0]


def test_no_bound_where_the_chain_is_too_large_for_eigenvalues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "MOST_STATES", 7)
    _, monitor, recorder = watched()
    monitor.log(0, {})
    assert set(recorder.last) == UNBOUNDED


@pytest.mark.parametrize("memory", [-1.0, math.nan, math.inf, "4"])
def test_memory(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    env = random_local_mdp("line:2")
    with pytest.raises(ConfigError, match=r"callback\.memory"):
        ExactMonitor(env, TabularSoftmax(env), 0, [], memory=memory)


@pytest.mark.parametrize(("graph", "memory"), [("line:40", 4.0), ("line:3", 1e-9)])
def test_too_large(graph: str, memory: float) -> None:
    """Refused when it is made, not when a run has begun; the second is small enough for a matrix but not for a step."""
    env = random_local_mdp(graph)
    recorder = Recorder()
    with pytest.raises(ConfigError, match="GiB allowed"):
        ExactMonitor(env, TabularSoftmax(env), 0, [recorder], memory=memory)
    assert recorder.diary == []


@pytest.mark.parametrize("error", [ConfigError("too slow"), torch.linalg.LinAlgError("singular")])
def test_a_number_that_does_not_exist_costs_no_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """NaN in that replica, a warning with the step, and the run goes on."""
    _, monitor, recorder = watched(replicas=2)

    def fails(chain: Chain) -> Any:
        if chain.replica == 1:
            raise error
        return gradient(chain)

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(monitor_module, "gradient", fails)
        monitor.log(12, {"train/average_reward": np.zeros(2)})
    assert set(recorder.last) == {*ALL, "train/average_reward"}
    for tag in ALL:
        assert np.isnan(recorder.last[tag]).tolist() == [False, True]
    assert [record.getMessage() for record in caplog.records] == [f"no exact numbers of replica 1 at step 12: {error}"]
    monitor.log(13, {})
    assert all(np.isfinite(recorder.last[tag]).all() for tag in ALL)


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    _, monitor, _ = watched()

    def broken(chain: Chain) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(monitor_module, "gradient", broken)
    with pytest.raises(ZeroDivisionError):
        monitor.log(1, {})


def test_the_network_is_asked_for_its_laws_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at every log point."""
    asked: list[int] = []
    laws = monitor_module.LocalLaws
    monkeypatch.setattr(monitor_module, "LocalLaws", lambda env: (asked.append(1), laws(env))[1])
    monkeypatch.setattr("marl.exact.chain.LocalLaws", lambda env: (asked.append(2), laws(env))[1])
    env = random_local_mdp("line:3")
    loggers: Sequence[Logger] = [Recorder()]
    monitor = ExactMonitor(env, TabularSoftmax(env, replicas=2), 0, loggers)
    for step in range(3):
        monitor.log(step, {})
    assert asked == [1]


def test_a_policy_that_sees_neighbors_has_numbers_and_no_bound() -> None:
    """What C certifies is for policies of the own state."""
    env, recorder = random_local_mdp("line:3", interaction=0.25), Recorder()
    policy = NeighborhoodTable(env, replicas=2)
    with torch.no_grad():
        policy.theta.normal_(generator=torch.Generator().manual_seed(0))
    ExactMonitor(env, policy, 0, [recorder]).log(1, {})
    assert set(recorder.last) == UNBOUNDED
    for b in range(2):
        chain = Chain(env, policy, replica=b)
        assert recorder.last["exact/average_reward"][b] == pytest.approx(float(solve(chain, chain.rewards()).J.mean()))
        assert recorder.last["exact/gradient_norm"][b] == pytest.approx(norm(gradient(chain)))
