"""A long run holds its table and nothing else that grows."""

from pathlib import Path

from marl import PowerLaw, ScalableActorCritic, TabularCritic, TabularSoftmax, WirelessAccess
from marl.loggers import TensorBoardLogger


def trained(tmp_path: Path, kappa: int) -> ScalableActorCritic:
    """After a fifth of a million steps."""
    env = WirelessAccess()
    trainer = ScalableActorCritic(
        env,
        TabularSoftmax(env),
        TabularCritic(env, kappa=kappa),
        critic_scheduler=PowerLaw(0.5, 0.4),
        actor_scheduler=PowerLaw(20.0, 0.5),
        engine="fused",
        log_every=5000,
        loggers=[TensorBoardLogger(tmp_path, env=env, config={}, picture=False)],
    )
    trainer.run(200_000)
    return trainer


def test_a_million_compiled_steps(tmp_path: Path) -> None:
    """kappa = 0, so that the table is small: after a fifth of it less than 2 MiB come, and few events."""
    trainer = trained(tmp_path, 0)
    before = resident()
    trainer.run(800_000)
    assert resident() - before < 2 * 2**20
    trainer.loggers[0].close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 10**6


def test_a_table_that_grows_leaves_nothing_behind(tmp_path: Path) -> None:
    """kappa = 1: the table doubles; what it was copied from goes back, and no more than 4 MiB come besides."""
    trainer = trained(tmp_path, 1)
    before, small = resident(), trainer.critic.table.metrics()["bytes"]
    trainer.run(800_000)
    large = trainer.critic.table.metrics()["bytes"]
    assert large > 1.9 * small
    assert resident() - before - (large - small) < 4 * 2**20
    trainer.loggers[0].close()


def resident() -> int:
    """Bytes of this process that are in memory (Linux)."""
    (line,) = (text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmRSS"))
    return 1024 * int(line.split()[1])
