"""Compiled forms of policies and critics must give the same run as autograd, up to rounding."""

from collections.abc import Callable
from typing import Any

from marl.core.critic import Critic
from marl.core.environment import FiniteEnvironment
from marl.core.errors import ConfigError
from marl.core.noise import Noise, Purpose
from marl.core.policy import Policy
from marl.critics import TabularCritic
from marl.policies import TabularSoftmax
from marl.schedulers import Constant, PowerLaw
from marl.testing.demands import demand_equal, precision
from marl.testing.inputs import random_pairs
from marl.trainers import ScalableActorCritic
from marl.trainers.fusible import form_of, not_declared
from marl.trainers.rollout import Collector

STEPS = 100
REPLICAS = 2


def check_compiled_critic(env: FiniteEnvironment, make: Callable[..., Critic]) -> None:
    """Demands that `ScalableActorCritic` learns the same compiled. Errors: `ConfigError` if `env` has no compiled step."""
    critic = make(replicas=REPLICAS)
    if form_of(critic) is not None:
        _check_training(env, lambda **run: TabularSoftmax(env, dtype=critic.dtype, **run), make, type(critic).__name__)


def check_compiled_policy(env: FiniteEnvironment, make: Callable[..., Policy]) -> None:
    """Demands that `ScalableActorCritic` learns the same compiled. Errors: `ConfigError` if `env` has no compiled step."""
    policy = make(replicas=REPLICAS)
    if form_of(policy) is not None:
        _check_training(env, make, lambda **run: TabularCritic(env, dtype=policy.dtype, **run), type(policy).__name__)


def check_compiled_rollout(env: FiniteEnvironment, policy: Policy) -> None:
    """Demands that a compiled rollout, if there is one, is that of single steps. Errors: `ConfigError` as above."""
    name = type(policy).__name__
    if "sampled" in vars(type(policy)):
        _demand_compiled(env, f"{name}.sampled")
    collect = Collector(env, policy)
    if collect.compiled_step() is None:
        return
    noise = Noise(0, policy.replicas, env.n, env.num_uniforms + 1, Purpose.EVALUATION)
    u = noise(0)
    s = env.reset(u[..., :-1])
    a = policy.sample(s, u[..., -1])
    found = collect(noise, s, a, 0, STEPS)
    for k in range(STEPS):
        u = noise(k + 1)
        s, r = env.step(s, a, u[..., :-1])
        a = policy.sample(s, u[..., -1])
        broken = f"step {k} of a compiled rollout with {name} has other"
        demand_equal(found.s[k + 1], s, f"{broken} states")
        demand_equal(found.a[k + 1], a, f"{broken} actions")
        demand_equal(found.r[k], r, f"{broken} rewards", tolerance=1e-12)


def _check_training(env: FiniteEnvironment, policy: Callable[..., Any], critic: Callable[..., Any], name: str) -> None:
    _demand_compiled(env, f"{name}.fused")
    runs = []
    for engine in ("fused", "autograd"):
        parts = policy(replicas=REPLICAS), critic(replicas=REPLICAS)
        sizes: Any = {"critic_scheduler": PowerLaw(0.5, 0.55), "actor_scheduler": Constant(2.0)}
        runs.append(ScalableActorCritic(env, *parts, **sizes, engine=engine))
        runs[-1].run(STEPS)
    fused, autograd = runs
    broken, tolerance = f"{name} learns otherwise compiled than by autograd", precision(autograd.policy.dtype)
    demand_equal(fused.s, autograd.s, f"{broken}: states after {STEPS} steps")
    demand_equal(fused.a, autograd.a, f"{broken}: actions after {STEPS} steps")
    s, a = random_pairs(env, 50, REPLICAS, seed=0)
    log_probs = [run.policy.log_prob(s, a) for run in runs]
    demand_equal(log_probs[0], log_probs[1], f"{broken}: log-probabilities after {STEPS} steps", tolerance=10 * tolerance)
    values = [run.critic.q(s, a) for run in runs]
    demand_equal(values[0], values[1], f"{broken}: values after {STEPS} steps", tolerance=10 * tolerance)


def _demand_compiled(env: FiniteEnvironment, what: str) -> None:
    if reason := not_declared(env):
        raise ConfigError(f"{what} can be checked only on an environment with a compiled step: {reason}")
