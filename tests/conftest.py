"""Shapes are checked in every test, never in runs: annotations of the package are enforced by beartype.

In a run of a trainer they are enforced in the first five steps, or until it has learned from two rollouts or episodes: the
same lines see the same shapes from then on, and the checks would take more than half of the time.

Compiled loops take replicas in turn: the loop over threads, which the same code would be compiled for once more, is tested
where a test asks for `cores`.
"""

from pathlib import Path

from jaxtyping import install_import_hook

CHECKED = ["core", "envs", "policies", "critics", "schedulers", "trainers", "loggers", "exact"]
PACKAGE = Path(__file__).parents[1] / "marl"
MODULES = [path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.py")]
hook = install_import_hook(
    [".".join(path.parts) for path in MODULES if path.parts[1] in CHECKED and path.name not in ("__init__", "kernel")],
    "beartype.beartype",
)  # compiled kernels cannot be wrapped
hook.__enter__()

import jaxtyping  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

pytest.register_assert_rewrite("tests.cli.command")  # so that its failures say what differed

from marl.core.environment import Environment  # noqa: E402
from marl.envs import WirelessAccess  # noqa: E402
from marl.kernels import workers  # noqa: E402
from marl.trainers.batched import BatchedActorCritic  # noqa: E402
from marl.trainers.trainer import Trainer  # noqa: E402
from tests.oracles import Wireless  # noqa: E402

torch.set_num_threads(1)
CORES = workers.allowed()
workers._most = workers._allowed = 1

CHECKED_STEPS = 5
advance = Trainer._timed_advance


def advance_checked_at_first(self: Trainer, steps: int) -> None:
    """Takes the steps in two pieces, which give the numbers of one; the second is taken without checks of shapes."""
    learned = self.buffer.length if isinstance(self, BatchedActorCritic) else getattr(self, "horizon", None)
    length = 2 * learned if learned else CHECKED_STEPS
    checked = max(0, min(steps, length - self.t))
    if checked:
        advance(self, checked)
    if checked == steps:
        return
    disabled = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        advance(self, steps - checked)
    finally:
        jaxtyping.config.update("jaxtyping_disable", disabled)


Trainer._timed_advance = advance_checked_at_first  # type: ignore[method-assign]


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> int:
    """As many threads for compiled loops as a run has; says how many."""
    monkeypatch.setattr(workers, "_most", CORES)
    monkeypatch.setattr(workers, "_allowed", CORES)
    return CORES


@pytest.fixture
def small() -> WirelessAccess:
    """Two by three users at inner corners: at most four conflicting users, mixed sizes."""
    return WirelessAccess(rows=2, cols=3, access_points="interior", instance_seed=3)


def written_out(env: Environment) -> Wireless:
    """The oracle's picture of a wireless environment."""
    assert isinstance(env, WirelessAccess)
    return Wireless(
        access=env.access,
        arrival=env.arrival.tolist(),
        success=env.success.tolist(),
        deadline=[int(states).bit_length() - 1 for states in env.num_states],
        action_set="any_slot" if env.any_slot else "earliest",
    )
