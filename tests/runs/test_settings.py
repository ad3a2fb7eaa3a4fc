"""The settings of a run, read once: what they are by default, and what is refused."""

import dataclasses
from typing import Any

import pytest
import torch

from marl.build import Replicas
from marl.cli.train import compose
from marl.core.errors import ConfigError
from marl.runs.settings import Settings, parse

PLAIN: dict[str, Any] = compose([])


def read(**changed: Any) -> Settings:
    return parse({**PLAIN, **changed})


def test_what_is_given_is_read() -> None:
    given = {"steps": 3000.0, "replicas": 2, "seed": 7, "dtype": "float32", "log_every": 13, "threads": 3}
    nested = {"eval": {"steps": 40, "burn_in": 5}, "checkpoint": {"every": 17}, "resume": "here", "force": True}
    assert read(**given, **nested) == Settings(
        steps=3000,
        replicas=Replicas(2, 7, torch.float32),
        log_every=13,
        log_every_is_given=True,
        threads=3,
        eval_steps=40,
        eval_burn_in=5,
        checkpoint_every=17,
        resume=True,
        force=True,
    )


def test_what_is_not_given_is_a_share_of_the_steps() -> None:
    found = read(steps=1001, log_every=None, checkpoint={"every": None}, eval={"steps": 0, "burn_in": None})
    assert (found.log_every, found.log_every_is_given, found.checkpoint_every) == (6, False, None)
    assert (found.eval_steps, found.eval_burn_in, found.threads, found.resume) == (0, None, None, False)


@pytest.mark.parametrize(("rollout", "log_every"), [(1, 5), (7, 7), (3, 6), (999, 999), (5000, 5), ("x", 5)])
def test_a_default_log_point_comes_after_whole_rollouts(rollout: Any, log_every: int) -> None:
    trainer = {**PLAIN["trainer"], "rollout": rollout}
    assert read(steps=1000, log_every=None, trainer=trainer).log_every == log_every
    assert read(steps=1000, log_every=2, trainer=trainer).log_every == 2


@pytest.mark.parametrize(("agents", "log_every", "eval_steps"), [(25, 5, 2000), (10**5, 5, 1342), (10**6, 20, 134)])
def test_a_large_network_is_looked_at_less_often_unless_it_is_asked_for(
    agents: int, log_every: int, eval_steps: int
) -> None:
    by_itself = {"log_every": None, "replicas": 2, "eval": {"steps": None, "burn_in": None}}
    found = read(steps=1000, **by_itself)
    assert (found.log_every_of(agents), found.eval_steps_of(agents)) == (log_every, eval_steps)
    given = read(steps=1000, log_every=5, eval={"steps": 2000, "burn_in": None})
    assert (given.log_every_of(agents), given.eval_steps_of(agents)) == (5, 2000)


def test_a_log_point_of_a_large_network_comes_at_the_end_at_the_latest() -> None:
    assert read(steps=10, log_every=None).log_every_of(10**8) == 10


def test_a_record_stays_as_it_is() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().steps = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"foo": 1}, "there is no key 'foo'; there are: env, policy"),
        ({"eval": {"steps": 20, "burn_in": None, "foo": 1}}, r"no key 'eval\.foo'; there are: eval\.steps, eval\.burn_in"),
        ({"eval": {"steps": 20}}, r"the configuration lacks 'eval\.burn_in'"),
        ({"checkpoint": 3}, "checkpoint must hold every, got 3"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"threads": 2000}, "threads must be at most 1024, got 2000"),
        ({"steps": 40, "log_every": 41}, "log_every=41 is more than steps=40"),
        ({"eval": {"steps": 19, "burn_in": None}}, r"eval\.steps must be a whole number of at least 20, got 19"),
        ({"eval": {"steps": 20, "burn_in": -1}}, r"eval\.burn_in must be a whole number of at least 0, got -1"),
        ({"dtype": "float16"}, "dtype must be one of float64, float32"),
        ({"replicas": True}, "replicas must be a whole number of at least 1, got True"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"force": "yes"}, "force must be true or false, got 'yes'"),
    ],
    ids=str,
)
def test_refusals(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read(**changed)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="the configuration lacks 'seed'"):
        parse({key: value for key, value in PLAIN.items() if key != "seed"})
