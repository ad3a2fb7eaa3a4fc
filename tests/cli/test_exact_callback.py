"""callback=exact: true numbers beside the noisy ones, which they do not touch."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from marl import Network
from marl.core.policy import Policy
from marl.envs import LocalMDP, random_local_mdp
from marl.exact import AverageValues, Chain, JointPairs, certificate, ergodicity
from marl.policies import TabularSoftmax
from marl.trainers import ScalableActorCritic
from tests.cli.command import Marl, Outcome, assert_refused, assert_same_numbers, contents, metrics_of, state_of, summary_of
from tests.cli.test_interrupted import assert_interrupted

INSTANCE = ("env=random_local_mdp", "env.graph=line:3", "env.num_actions=2")
WEAK = (*INSTANCE, "env.interaction=0.25")
"""Certified for every policy."""
RUN = ("steps=40", "eval.steps=0", "log_every=8", "actor_scheduler.value=5")
EXACT = (*RUN, "callback=exact", "logger=none", "hydra.run.dir=run")


def exact_of(run: Path) -> dict[str, np.ndarray]:
    """The rows of exact/*, by what follows the slash."""
    return {tag.removeprefix("exact/"): rows for tag, rows in metrics_of(run).items() if tag.startswith("exact/")}


def assert_unusable(outcome: Outcome, *fragments: str) -> None:
    """Refused in one sentence that names the callback, after at most a line about the engine."""
    *notes, last = outcome.err.splitlines(keepends=True)
    assert all(note.startswith("engine: ") for note in notes), notes
    assert_refused(outcome._replace(err=last), "callback", *fragments)


def trained(run: Path, policy: Policy) -> Policy:
    policy.load_state_dict(torch.load(run / "checkpoint.pt", weights_only=True)["state"]["trainer"]["policy"])
    return policy


def gradient_of_definition(chain: Chain) -> float:
    """||E_pi[Q(z) grad log zeta(a|s)]|| over the written-out table of joint pairs, by replica 0 or 1 of a softmax."""
    joint = JointPairs(chain)
    s, a = joint.pairs
    weights = joint.stationary * joint.q.mean(dim=1)
    replicas = chain.policy.replicas
    total = torch.zeros((), dtype=torch.float64)
    for k in range(joint.num_pairs):
        log_probs = chain.policy.log_prob(s[k].expand(replicas, -1), a[k].expand(replicas, -1))[chain.replica]
        total = total + weights[k] * log_probs.sum()
    (found,) = torch.autograd.grad(total, list(chain.policy.parameters()))
    return float(found[chain.replica].norm())


def test_rows(marl: Marl, tmp_path: Path) -> None:
    """One number per log point and replica; the last row is that of the policy in the checkpoint."""
    assert marl("train", *WEAK, *EXACT, "replicas=2", "critic.kappa=1").code == 0
    rows = exact_of(tmp_path / "run")
    assert set(rows) == {"average_reward", "gradient_norm", "theorem2_bound"}
    assert metrics_of(tmp_path / "run")["step"].tolist() == [8, 16, 24, 32, 40]
    assert {values.shape for values in rows.values()} == {(5, 2)}
    env = random_local_mdp("line:3", num_actions=2, interaction=0.25)
    policy = trained(tmp_path / "run", TabularSoftmax(env, replicas=2))
    bounds = certificate(Chain(env, policy).laws).bounds
    assert bounds is not None
    for b in range(2):
        chain = Chain(env, policy, replica=b)
        limit = math.sqrt(3 * 2.0) * float(bounds[1].max()) / (1.0 - ergodicity(chain).mu_D)
        assert rows["average_reward"][-1, b] == pytest.approx(float(AverageValues(chain).J.mean()), rel=1e-12)
        assert rows["gradient_norm"][-1, b] == pytest.approx(gradient_of_definition(chain), rel=1e-9)
        assert rows["theorem2_bound"][-1, b] == pytest.approx(limit, rel=1e-9)
    for values in rows.values():  # it follows the policy, which differs between replicas and moves
        assert len(np.unique(values[-1])) == 2
        assert len(np.unique(values[:, 0])) == 5


def test_tensorboard_shows_the_mean_over_replicas(marl: Marl, tmp_path: Path) -> None:
    """... in one event file, whole: every logger is flushed and closed behind the callback."""
    assert marl("train", *WEAK, *RUN, "callback=exact", "replicas=2", "hydra.run.dir=run").code == 0
    events = EventAccumulator(str(tmp_path / "run" / "tb"), size_guidance={"scalars": 0}).Reload()
    rows = metrics_of(tmp_path / "run")
    exact = [tag for tag in rows if tag.startswith("exact/")]
    assert len(exact) == 3
    for tag in (*exact, "train/average_reward"):
        curve = events.Scalars(tag)
        assert [event.step for event in curve] == rows["step"].tolist()
        assert [event.value for event in curve] == pytest.approx(rows[tag].mean(axis=1), rel=1e-6)
    assert len(list((tmp_path / "run" / "tb").iterdir())) == 1
    assert events.Tags()["images"] == ["network/agent_reward"]  # drawn by close()


@pytest.mark.parametrize("critic", ["tabular", "neural"])
def test_training_does_not_notice(marl: Marl, tmp_path: Path, critic: str) -> None:
    """Bit for bit, the evaluation at the end included."""
    run = (*WEAK, *RUN, "eval.steps=20", "replicas=2", f"critic={critic}", "logger=none")
    assert marl("train", *run, "callback=exact", "hydra.run.dir=watched").code == 0
    assert marl("train", *run, "hydra.run.dir=alone").code == 0

    def rest(logged: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in logged.items() if "exact/" not in key}

    for of in (metrics_of, state_of):
        watched, alone = of(tmp_path / "watched"), of(tmp_path / "alone")
        assert rest(watched).keys() == alone.keys() < watched.keys()
        assert [key for key in alone if not np.array_equal(watched[key], alone[key])] == []
    evaluated = [summary_of(tmp_path / name)["eval_average_reward"] for name in ("watched", "alone")]
    assert evaluated[0] == evaluated[1]


@pytest.mark.parametrize("when", [5, 23])
def test_control_c(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int) -> None:
    """The same command goes on: the same rows, before the first checkpoint (step 8) and after two of them."""
    command = ["train", *WEAK, *RUN, "callback=exact", "checkpoint.every=8", "log_every=4"]
    assert marl(*command, "hydra.run.dir=whole").code == 0
    advance = ScalableActorCritic._advance

    def interrupted(trainer: ScalableActorCritic, steps: int) -> None:
        advance(trainer, min(steps, when - trainer.t))
        if trainer.t == when:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ScalableActorCritic, "_advance", interrupted)
        assert_interrupted(marl(*command, "hydra.run.dir=run"), tmp_path / "run")
    assert marl(*command, "hydra.run.dir=run").code == 0
    assert_same_numbers(tmp_path / "run", tmp_path / "whole")
    assert len(exact_of(tmp_path / "run")["average_reward"]) == 10
    curves = []
    for name in ("run", "whole"):
        events = EventAccumulator(str(tmp_path / name / "tb"), size_guidance={"scalars": 0}).Reload()
        curves.append([(event.step, event.value) for event in events.Scalars("exact/gradient_norm")])
    assert curves[0] == curves[1]


def test_a_longer_run(marl: Marl, tmp_path: Path) -> None:
    run = (*WEAK, "eval.steps=0", "log_every=8", "callback=exact", "logger=none")
    assert marl("train", *run, "steps=40", "hydra.run.dir=whole").code == 0
    assert marl("train", *run, "steps=16", "hydra.run.dir=run").code == 0
    assert marl("train", "resume=run", "steps=40").code == 0
    assert_same_numbers(tmp_path / "run", tmp_path / "whole")


def test_without_a_certificate_there_is_no_bound(marl: Marl, tmp_path: Path) -> None:
    """Coloring: u_i' = a_i, so C_ii = 1. At the uniform start J = (1/2 + 1/4 + 1/2) / 3 on a line of three, two colors."""
    parts = ("env=coloring", "env.graph=line:3", "env.colors=2", "policy=state_independent")
    assert marl("train", *parts, *EXACT, "log_every=1", "actor_scheduler.value=1e-9").code == 0
    rows = exact_of(tmp_path / "run")
    assert set(rows) == {"average_reward", "gradient_norm"}
    assert rows["average_reward"][:, 0] == pytest.approx(5 / 12, abs=1e-6)
    assert np.isfinite(rows["gradient_norm"]).all()


def unvisited(path: Path) -> None:
    """Two agents, three states of which the last is never entered: certified, with stationary probability 0."""
    draw = np.random.default_rng(0)
    random = draw.dirichlet(np.ones(2), size=(3, 3, 2))  # [s_0, s_1, a_i, s_i']
    rows = np.concatenate([0.2 * random + 0.8 * np.array([0.3, 0.7]), np.zeros((3, 3, 2, 1))], axis=-1)
    LocalMDP(Network.line(2), [rows, rows], [draw.random((3, 2))] * 2).save(path)


def test_the_bound_is_infinite_where_theorem_2_is_vacuous(marl: Marl, tmp_path: Path) -> None:
    unvisited(tmp_path / "tables.npz")
    parts = ("env=local_mdp", "env.path=tables.npz")
    assert marl("train", *parts, *RUN, "callback=exact", "hydra.run.dir=run").code == 0
    rows = exact_of(tmp_path / "run")
    assert (rows["theorem2_bound"] == np.inf).all()
    assert np.isfinite(rows["average_reward"]).all()
    assert np.isfinite(rows["gradient_norm"]).all()
    assert (rows["gradient_norm"] > 0).all()
    events = EventAccumulator(str(tmp_path / "run" / "tb")).Reload()
    assert [event.value for event in events.Scalars("exact/theorem2_bound")] == [math.inf] * 5


def test_a_policy_that_learns_nothing(marl: Marl, tmp_path: Path) -> None:
    assert marl("train", *WEAK, *EXACT, "policy=random_table").code == 0
    rows = exact_of(tmp_path / "run")
    assert set(rows) == {"average_reward", "gradient_norm"}
    assert (rows["gradient_norm"] == 0.0).all()
    assert len(np.unique(rows["average_reward"])) == 1


def test_a_policy_without_a_bound_on_its_score(marl: Marl, tmp_path: Path) -> None:
    assert marl("train", *WEAK, *EXACT, "policy=neural", "dtype=float32", "replicas=2").code == 0
    rows = exact_of(tmp_path / "run")
    assert set(rows) == {"average_reward", "gradient_norm"}
    assert (rows["gradient_norm"] > 0).all()


def test_a_wireless_network(marl: Marl, tmp_path: Path) -> None:
    """Shared actions, unequal sizes; not certified."""
    parts = ("env.rows=1", "env.cols=2", "env.access_points=corners")
    assert marl("train", *parts, *EXACT).code == 0
    rows = exact_of(tmp_path / "run")
    assert set(rows) == {"average_reward", "gradient_norm"}
    assert ((rows["average_reward"] > 0) & (rows["average_reward"] < 1)).all()


def absorbing(path: Path) -> None:
    """Two agents that stay where they are."""
    stay = np.broadcast_to(np.eye(2)[:, None, None, :], (2, 2, 1, 2))
    LocalMDP(Network.line(2), [stay, np.swapaxes(stay, 0, 1)], [np.zeros((2, 1))] * 2).save(path)


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [
        (["env=random_local_mdp", "env.graph=line:40"], ["1.1e+12 joint states", "GiB", "4 GiB allowed"]),
        (["env.rows=5"], ["neighbors", "entries"]),
        (["env=local_mdp", "env.path=absorbing.npz"], ["more than one recurrent class"]),
        ([*WEAK, "callback.memory=1e-9"], ["GiB", "1e-09 GiB allowed"]),
        ([*WEAK, "callback.memory=-1"], ["callback.memory", "got -1"]),
        ([*WEAK, "callback.memory=abc"], ["callback.memory", "'abc'"]),
        ([*WEAK, "callback._target_=marl.exact.NoSuch"], ["callback._target_", "NoSuch"]),
        ([*WEAK, "callback._target_=marl.exact.Chain"], ["callback"]),
    ],
    ids=["too large", "too many entries", "absorbing", "memory", "negative", "text", "no class", "no logger"],
)
def test_refused_before_anything_is_written(marl: Marl, tmp_path: Path, overrides: list[str], fragments: list[str]) -> None:
    absorbing(tmp_path / "absorbing.npz")
    before = contents(tmp_path)
    assert_unusable(marl("train", *overrides, "eval.steps=0", "steps=40", "callback=exact"), *fragments)
    assert contents(tmp_path) == before


def test_a_refusal_destroys_no_run(marl: Marl, tmp_path: Path) -> None:
    large = ("env=random_local_mdp", "env.graph=line:40", *RUN, "logger=none", "hydra.run.dir=run")
    assert marl("train", *large).code == 0
    before = contents(tmp_path, ignore="train.log")
    assert_unusable(marl("train", *large, "callback=exact", "force=true"), "GiB")
    assert contents(tmp_path, ignore="train.log") == before


def test_an_unknown_key(marl: Marl, tmp_path: Path) -> None:
    assert_refused(marl("train", *WEAK, *EXACT, "callback.foo=1"), "'callback.foo'")
    assert_refused(marl("train", *WEAK, "callback=nosuch"), "callback/nosuch", "exact, none")
    assert contents(tmp_path) == {}
