"""`marl evaluate` of a rule or an untrained policy: the numbers of `marl.evaluate`, and what is refused."""

from pathlib import Path

import pytest

from marl import Aloha, Epidemic, Network, ShieldIfNeighborInfected, WirelessAccess, evaluate
from tests.cli.command import Marl, assert_refused, contents


def test_a_rule_is_evaluated_without_a_run(marl: Marl, tmp_path: Path) -> None:
    outcome = marl("evaluate", "env=epidemic", "policy=shield_if_neighbor_infected", "env.graph=line:4", "eval.steps=200")
    env = Epidemic(Network.line(4))
    found = evaluate(env, ShieldIfNeighborInfected(env), steps=200)
    mean, half = found.average_reward.item(), found.half_width.item()
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        f"replica 0: average reward {mean:.5f} +- {half:.5f} (95 %, 200 steps)\nall 1: average reward {mean:.5f}\n"
    )
    assert contents(tmp_path) == {}


def test_replicas_of_a_rule_may_differ(marl: Marl) -> None:
    given = (
        "policy=aloha",
        "policy.send_probability=[0.1,0.5]",
        "replicas=2",
        "seed=4",
        "eval.burn_in=7",
        "eval.steps=100",
    )
    outcome = marl("evaluate", *given)
    env = WirelessAccess()
    rule = Aloha(env, send_probability=[0.1, 0.5], replicas=2)
    found = evaluate(env, rule, steps=100, burn_in=7, seed=4).average_reward.tolist()
    assert [line.split()[4] for line in outcome.out.splitlines()[:2]] == [f"{mean:.5f}" for mean in found]


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["policy=jsq"], ["JoinShortestQueue is a rule for LoadBalancing"]),
        (["env=epidemic", "eval.steps=3"], ["eval.steps", "at least 20", "got 3"]),
        (["env=epidemic", "replicas=0"], ["replicas", "at least 1"]),
        (["env=epidemic", "seed=-1"], ["seed", "at least 0"]),
        (["env=epidemic", "steps=5"], ["no key 'steps'"]),
        (["env=epidemic", "trust=true"], ["trust=true is for a RUN_DIR"]),
        (["env=epidemics"], ["epidemics", "epidemic"]),
    ],
)
def test_what_cannot_be_evaluated_is_refused(marl: Marl, words: list[str], fragments: list[str]) -> None:
    assert_refused(marl("evaluate", *words), *fragments)


def test_to_train_a_rule_is_to_learn_nothing_and_says_so(marl: Marl) -> None:
    outcome = marl("train", "policy=aloha", "steps=40", "eval.steps=0", "logger=none")
    assert "nothing is learned: Aloha has no parameters\n" in outcome.err
    assert "Assumption 3" not in outcome.err
    assert "nothing is learned" not in marl("train", "steps=40", "eval.steps=0", "logger=none").err
