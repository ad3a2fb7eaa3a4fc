"""The trained policy of a run is loaded from its checkpoint and evaluated here."""

from dataclasses import replace
from pathlib import Path

from marl import build, targets
from marl.core.checks import integer
from marl.core.errors import CheckpointError, ConfigError
from marl.core.files import started_in
from marl.core.policy import Policy
from marl.runs import checkpoint
from marl.runs.directory import RunDirectory, differences, what_it_depends_on
from marl.runs.settings import parse_threads, threads_put_back, use_threads
from marl.trainers.evaluation import Evaluation, evaluate


@threads_put_back()
def evaluate_run(
    directory: Path, steps: int, burn_in: int | None = None, seed: int | None = None, *, trust: bool = False
) -> Evaluation:
    """Evaluates the policy of a run's checkpoint; `trust` as in `load_policy`. Errors: `CheckpointError`, `ConfigError`."""
    policy, replicas, threads = _load(directory, None, trust)
    use_threads(threads)
    return evaluate(policy.env, policy, steps=steps, burn_in=burn_in, seed=replicas.seed if seed is None else seed)


def load_policy(directory: str | Path, replica: int | None = None, *, trust: bool = False) -> Policy:
    """Loads the trained policy of a run, of all its replicas or of one; `policy.act(s)` draws actions in `policy.env`.

    trust: whether classes outside the library that the run names may be imported: that runs the code of their modules.
    Errors: `CheckpointError` if there is no sound checkpoint, `ConfigError` if there is no such replica, or if there are
    such classes and no trust.
    """
    return _load(Path(directory), replica, trust)[0]


def _load(directory: Path, replica: int | None, trust: bool) -> tuple[Policy, build.Replicas, int | None]:
    """Returns (policy, the replicas that were trained, the threads of the run), see `load_policy`."""
    config, state = checkpoint.load(directory / "checkpoint.pt")
    if not trust:
        used = [config.get("env"), config["policy"]]
        targets.refuse_strangers(used, str(directory), "trust=true, in Python load_policy(..., trust=True)")
    folder = RunDirectory(directory)
    other = differences(folder.config() or config, config)
    if other:
        raise CheckpointError(f"{directory}/checkpoint.pt is of another configuration than its run ({'; '.join(other)})")
    threads = parse_threads(config["threads"])
    with started_in(folder.start()):
        env = build.environment(config)
    folder.check_environment(state, what_it_depends_on(config, env), code=False)
    trained = build.replicas(config)
    if replica is not None and integer("replica", replica, 0) >= trained.count:
        raise ConfigError(f"{directory} has replicas 0 to {trained.count - 1}, got replica={replica}")
    policy = build.policy(config, env, trained if replica is None else replace(trained, count=1))
    try:
        learned = state["trainer"]["policy"]
        if replica is not None:  # buffers have no axis of replicas
            own = dict(policy.named_parameters())
            learned = {name: x[replica : replica + 1] if name in own else x for name, x in learned.items()}
        policy.load_state_dict(learned)
    except (RuntimeError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{directory}/checkpoint.pt holds another policy than its configuration says") from None
    return policy, trained, threads
