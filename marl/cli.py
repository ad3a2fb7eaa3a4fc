"""The `marl` command. Nothing heavy is imported before it is needed."""

import os
import sys
from pathlib import Path
from typing import Any

USAGE = """usage: marl COMMAND ...

  marl train [KEY=VALUE ...]            train as configured; -m sweeps over comma-separated values
  marl evaluate RUN_DIR [KEY=VALUE ...] long-run average reward of a trained policy

marl COMMAND --help says more."""

TRAIN = """usage: marl train [-m] [KEY=VALUE ...]

  marl train                                             the 5x5 wireless network, 20,000 steps
  marl train env.access_points=corners critic.kappa=1    other settings
  marl train experiment=fig5_corners seed=1              a named experiment
  marl train -m critic=tabular,neural seed=0,1           a sweep: every combination, one run each
  marl train resume=RUN_DIR steps=40000                  go on with a run
  marl train --cfg job                                   print the configuration and stop
  marl train --config-dir DIR critic=mine                with your own components (docs/extending.md)

keys    steps replicas seed dtype log_every threads eval.steps eval.burn_in checkpoint.every resume force
        env.* policy.* critic.* critic_scheduler.* actor_scheduler.* trainer.* logger.*
        hydra.run.dir=DIR, or hydra.sweep.dir=DIR with -m: where the results go
groups  """

EVALUATE = """usage: marl evaluate RUN_DIR [eval.steps=20000] [eval.burn_in=STEPS] [seed=SEED]

Runs the policy of RUN_DIR's checkpoint, frozen, on noise of its own, and prints the long-run average reward per
agent and step of every replica with a 95 % confidence interval (20 batch means)."""


def main() -> int:
    """Entry point. Exit code 0: done; 1: the run failed or diverged; 2: the request was wrong."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    command, rest = arguments[0], arguments[1:]
    if command not in COMMANDS:
        print(f"marl: there is no command {command!r}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    sys.path.append(os.getcwd())  # a _target_ may name a module beside the user
    try:
        return COMMANDS[command](rest)
    except KeyboardInterrupt:
        print("marl: interrupted; the same command continues from the last checkpoint", file=sys.stderr)
        return 130
    except Exception as error:
        return _report(error)


def compose(overrides: list[str]) -> dict[str, Any]:
    """The configuration of `marl train` with `overrides`, as plain values. For scripts and tests."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return _plain(OmegaConf, hydra_compose("train", overrides))


def conf_dir() -> Path:
    """Where the yaml files are: beside the package in a checkout, inside it in an installed wheel."""
    package = Path(__file__).resolve().parent
    inside, beside = package / "conf", package.parent / "conf"
    return inside if inside.is_dir() else beside


def _train(arguments: list[str]) -> int:
    if any(argument in ("-h", "--help") for argument in arguments):
        print(TRAIN + "\n        ".join(_groups()))
        return 0
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig, OmegaConf

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come back here instead of being printed there
    OmegaConf.register_new_resolver("run_name", _run_name, replace=True)
    sys.argv = ["marl", *_with_resume(arguments)]

    stopped: list[Exception] = []

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
    def job(config: DictConfig) -> dict[str, Any] | None:
        hydra_config = HydraConfig.get()
        directory = Path(hydra_config.runtime.output_dir)
        provenance = {
            "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra_config})),
            "overrides.yaml": OmegaConf.to_yaml(hydra_config.overrides.task),
        }
        try:
            return _train_one(_plain(OmegaConf, config), directory, provenance)
        except Exception as error:
            _take_back(directory, f"{hydra_config.job.name}.log")
            if hydra_config.mode == RunMode.MULTIRUN:  # the sweep goes on; Hydra names the job and reports at the end
                raise
            stopped.append(error)
            return None

    job()
    if stopped:
        raise stopped[0]
    return 0


def _train_one(config: dict[str, Any], directory: Path, provenance: dict[str, str]) -> dict[str, Any]:
    from marl.run import train
    from marl.summary import mean

    summary = train(config, directory, provenance)
    evaluated = summary.get("eval_average_reward")
    print(
        f"average reward {mean(summary['average_reward']):.4f} (last 10 % of {summary['steps']} steps)"
        + (f", evaluated {mean(evaluated):.4f}" if evaluated else "")
        + f", {summary['env_steps_per_second']:.0f} steps/s, in {directory}"
    )
    return summary


def _evaluate(arguments: list[str]) -> int:
    if not arguments or any(argument in ("-h", "--help") for argument in arguments):
        print(EVALUATE)
        return 0 if arguments else 2
    import yaml

    from marl.core.errors import ConfigError

    settings: dict[str, Any] = {"eval.steps": 20000, "eval.burn_in": None, "seed": None}
    for argument in arguments[1:]:
        key, equals, value = argument.partition("=")
        if key not in settings or not equals:
            raise ConfigError(f"marl evaluate takes {', '.join(f'{name}=...' for name in settings)}, got {argument!r}")
        settings[key] = yaml.safe_load(value)
    from marl.run import evaluate_run

    result = evaluate_run(Path(arguments[0]), settings["eval.steps"], settings["eval.burn_in"], settings["seed"])
    for b, (mean, half) in enumerate(zip(result.average_reward.tolist(), result.half_width.tolist(), strict=True)):
        print(f"replica {b}: average reward {mean:.5f} +- {half:.5f} (95 %, {result.steps} steps)")
    print(f"all {len(result.average_reward)}: average reward {result.average_reward.mean().item():.5f}")
    return 0


COMMANDS = {"train": _train, "evaluate": _evaluate}


def _plain(omegaconf: Any, config: Any) -> dict[str, Any]:
    plain = omegaconf.to_container(config, resolve=True, throw_on_missing=True)
    plain.pop("experiment", None)
    return dict(plain)


def _groups() -> list[str]:
    def options(group: Path) -> str:
        return ", ".join(sorted(path.stem for path in group.glob("*.yaml")))

    hidden = ("hydra", "scheduler", "__pycache__")
    return [f"{g.name}: {options(g)}" for g in sorted(conf_dir().iterdir()) if g.is_dir() and g.name not in hidden]


def _run_name(overrides: list[str], seed: int) -> str:
    """A readable directory: the overrides without the seed, then the seed."""
    told = [text.lstrip("+") for text in overrides if text.lstrip("+").split("=")[0] not in ("seed", "force")]
    name = ",".join(told).replace("/", "_").replace(" ", "") or "default"
    if len(name) > 200:
        import hashlib

        name = f"{name[:180]}~{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return f"{name}/seed={seed}"


def _with_resume(arguments: list[str]) -> list[str]:
    """For `resume=RUN_DIR`: the overrides of that run first, then these, in that directory."""
    given = [argument for argument in arguments if argument.startswith("resume=") and argument != "resume=null"]
    if not given:
        return arguments
    import yaml

    from marl.core.errors import CheckpointError

    directory = Path(given[-1].partition("=")[2].strip("'\""))
    overrides = directory / ".hydra" / "overrides.yaml"
    if not overrides.is_file():
        raise CheckpointError(f"{given[-1]}: {overrides} is missing; give the directory of a run of marl train")
    earlier = yaml.safe_load(overrides.read_text()) or []
    kept = [text for text in earlier if not text.startswith(("resume=", "force="))]
    return [*kept, *arguments, f"hydra.run.dir='{directory}'"]


def _take_back(directory: Path, log: str) -> None:
    """Removes what was made for a run that never started: a directory with at most a log in it, and empty parents."""
    if directory.is_dir() and {path.name for path in directory.iterdir()} <= {log}:
        (directory / log).unlink(missing_ok=True)
        for empty in (directory, directory.parent):
            if not any(empty.iterdir()):
                empty.rmdir()


def _report(error: Exception) -> int:
    """One sentence on standard error. `MARL_DEBUG=1` shows the traceback."""
    if os.environ.get("MARL_DEBUG") == "1":
        raise error
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from marl.core.errors import DivergedError, MarlError

    code = 2
    if isinstance(error, MarlError):
        text = str(error)
        code = 1 if isinstance(error, DivergedError) else 2
    elif isinstance(error, (HydraException, OmegaConfBaseException)):
        text = _sentence(error)
    elif isinstance(error, OSError):
        text = f"cannot write {error.filename}: {error.strerror}" if error.filename else str(error)
    else:
        gist = str(error).partition("\n")[0]
        text, code = f"{type(error).__name__}: {gist} (MARL_DEBUG=1 shows where)", 1
    print(f"marl: {text}", file=sys.stderr)
    return code


def _sentence(error: Exception) -> str:
    """The gist of a Hydra error in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "Could not override" in lines[0]:
        key = lines[0].split("'")[1]
        return f"there is no key {key!r} to set; marl train --help lists the keys, marl train --cfg job all of them"
    told = [k for k, line in enumerate(lines) if line.startswith("Available options in")]
    if told:
        start, stop = told[0] + 1, len(lines)
        options = [line for line in lines[start:stop] if not line.startswith(("Config search path", "provider="))]
        return f"{lines[0].partition(': ')[2]}; there are: {', '.join(options)}"
    kept = [line for line in lines if not line.startswith(("Config search path", "provider=", "full_key", "object_type"))]
    return " ".join(kept)
