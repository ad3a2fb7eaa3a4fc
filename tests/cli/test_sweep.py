"""`marl train -m`: readable directories, one event file each with everything in it, and no run twice."""

import struct
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from tests.cli.command import SMALL, Marl, Outcome, command_in, contents, metrics_of, summary_of

FIXED = ("steps=40", "env.rows=2", "env.cols=3", "replicas=3", "eval.steps=20")
SWEEP = ("train", "-m", "critic=tabular,neural", "critic.kappa=0,1", "seed=0,1", *FIXED)
PER_REPLICA = ("train/average_reward", "critic/td_error", "critic/mu", "actor/entropy")
PER_RUN = ("schedule/alpha", "schedule/eta", "perf/env_steps_per_second", "perf/agent_steps_per_second")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The directory in which the sweep ran, and what it printed."""
    directory = tmp_path_factory.mktemp("sweep")
    with command_in(directory) as marl:
        return directory, marl(*SWEEP)


def runs_in(directory: Path) -> list[Path]:
    return sorted(path.parent for path in directory.rglob("summary.json"))


def events_of(run: Path) -> EventAccumulator:
    """The one event file of a run, read back."""
    (file,) = (run / "tb").iterdir()
    return EventAccumulator(str(file), size_guidance={"scalars": 0, "images": 0}).Reload()


def test_directories_are_named_by_the_overrides(sweep: tuple[Path, Outcome]) -> None:
    directory, outcome = sweep
    assert outcome.code == 0, outcome
    assert {str(run.relative_to(directory / "outputs")) for run in runs_in(directory)} == {
        f"critic={critic},critic.kappa={kappa},{','.join(FIXED)}/seed={seed}"
        for critic in ("tabular", "neural")
        for kappa in (0, 1)
        for seed in (0, 1)
    }


def test_each_run_is_what_its_name_says(sweep: tuple[Path, Outcome]) -> None:
    for run in runs_in(sweep[0]):
        config = summary_of(run)["config"]
        assert config["critic"]["_target_"].endswith("NeuralCritic" if "neural" in str(run) else "TabularCritic")
        assert f"critic.kappa={config['critic']['kappa']}," in str(run)
        assert f"seed={config['seed']}" == run.name


def test_curves_are_the_metrics(sweep: tuple[Path, Outcome]) -> None:
    """Means over replicas, with the step of the environment as x; TensorBoard keeps float32."""
    for run in runs_in(sweep[0]):
        events = events_of(run)
        with np.load(run / "metrics.npz") as metrics:
            arrays = dict(metrics)
        reward = arrays["train/average_reward"]
        expected = {tag: arrays[tag].reshape(40, -1).mean(axis=1) for tag in (*PER_REPLICA, *PER_RUN)}
        expected |= {f"train/average_reward_p{q}": np.percentile(reward, q, axis=1) for q in (10, 90)}
        assert expected.keys() | {"eval/average_reward"} <= set(events.Tags()["scalars"])
        for tag, values in expected.items():
            curve = events.Scalars(tag)
            assert [event.step for event in curve] == arrays["step"].tolist()
            np.testing.assert_allclose([event.value for event in curve], values, rtol=1e-6, atol=1e-7, err_msg=tag)
        assert (expected["train/average_reward_p10"] < expected["train/average_reward_p90"]).any()


def test_evaluation_is_one_point_at_the_end(sweep: tuple[Path, Outcome]) -> None:
    for run in runs_in(sweep[0]):
        (point,) = events_of(run).Scalars("eval/average_reward")
        assert point.step == 40
        assert point.value == pytest.approx(np.mean(summary_of(run)["eval_average_reward"]), rel=1e-6)


def test_hyperparameters_are_in_the_same_file(sweep: tuple[Path, Outcome]) -> None:
    for run in runs_in(sweep[0]):
        content = events_of(run).PluginTagToContent("hparams")
        assert set(content) == {"_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info"}
        start = HParamsPluginData.FromString(content["_hparams_/session_start_info"]).session_start_info.hparams
        config = summary_of(run)["config"]
        assert start["critic.kappa"].number_value == config["critic"]["kappa"]
        assert start["critic._target_"].string_value == config["critic"]["_target_"]
        assert start["seed"].number_value == config["seed"]
        assert start["env.access_points"].string_value == "interior"
        experiment = HParamsPluginData.FromString(content["_hparams_/experiment"]).experiment
        assert [metric.name.tag for metric in experiment.metric_infos] == ["train/average_reward"]


def test_the_network_is_drawn(sweep: tuple[Path, Outcome]) -> None:
    for run in runs_in(sweep[0]):
        events = events_of(run)
        (picture,) = events.Images("network/agent_reward")
        assert picture.step == 40
        assert picture.encoded_image_string.startswith(b"\x89PNG")
        assert struct.unpack(">II", picture.encoded_image_string[16:24]) == (picture.width, picture.height)
        assert len(picture.encoded_image_string) > 5000  # an empty canvas takes about 1,500


@pytest.mark.parametrize("per_agent", [False, True])
def test_agents_have_curves_only_when_asked(marl: Marl, tmp_path: Path, per_agent: bool) -> None:
    assert marl("train", *SMALL, f"logger.per_agent={per_agent}", "logger.picture=false", "replicas=2").code == 0
    (run,) = runs_in(tmp_path)
    tags = events_of(run).Tags()
    wanted = [f"train/agent_reward/{agent}" for agent in range(6)] if per_agent else []
    assert [tag for tag in tags["scalars"] if "agent_reward" in tag] == wanted
    assert tags["images"] == []
    if per_agent:
        curves = [[event.value for event in events_of(run).Scalars(tag)] for tag in wanted]
        average = metrics_of(run)["train/average_reward"].mean(axis=1)
        np.testing.assert_allclose(np.mean(curves, axis=0), average, rtol=1e-6, atol=1e-7)


def test_a_second_call_runs_nothing_again(sweep: tuple[Path, Outcome]) -> None:
    directory, first = sweep
    before = contents(directory / "outputs", ignore="train.log")
    with command_in(directory) as marl:
        again = marl(*SWEEP)
    assert again.code == 0
    assert again.err == "8 jobs: 8 finished, 0 not\n"
    logs = [path.read_text() for path in (directory / "outputs").rglob("train.log")]
    assert [text.count("is finished already") for text in logs] == [1] * 8
    assert contents(directory / "outputs", ignore="train.log").items() >= {
        (path, content) for path, content in before.items() if path != "multirun.yaml"
    }
    averages = [[line for line in out.splitlines() if line.startswith("average reward")] for out in (first.out, again.out)]
    assert averages[0] == averages[1]
