"""This is what `--help` prints; it imports nothing heavy."""

from pathlib import Path

USAGE = """usage: marl COMMAND ...

  marl train [KEY=VALUE ...]            train as configured; -m sweeps over comma-separated values
  marl evaluate RUN_DIR [KEY=VALUE ...] long-run average reward of a trained policy, or env=... policy=... of a rule
  marl plot DIR ...                     learning curves and a table of runs and sweeps
  marl export RUN_DIR FILE              a trained policy as a plain json or npz file
  marl certify [RUN_DIR] [KEY=VALUE ...] bounds on how far influence reaches, and the kappa that is enough
  marl decay [RUN_DIR] [KEY=VALUE ...]  how far influence reaches under one policy, exactly
  marl optimum [KEY=VALUE ...]          what can be earned: uniform, rules, what agents see, the optimum
  marl graphs [NAME|FILE]               the graphs that have names, with their sizes, degrees and diameters
  marl watch [RUN_DIR] [KEY=VALUE ...]  the network in motion, as a page for the browser or a GIF

marl COMMAND --help says more."""

TRAIN = """usage: marl train [-m] [KEY=VALUE ...]

  marl train                                             the 5x5 wireless network, 20,000 steps
  marl train env.access_points=corners critic.kappa=1    other settings
  marl train experiment=fig5_corners seed=1              a named experiment
  marl train -m critic=tabular,neural seed=0,1           a sweep: every combination, one run each
  marl train resume=RUN_DIR steps=40000                  go on with a run (trust=true: with classes that it names)
  marl train --cfg job                                   print the configuration and stop
  marl train --config-dir DIR critic=mine                with your own components (docs/extending.md)

keys    steps replicas seed dtype log_every threads eval.steps eval.burn_in checkpoint.every resume force
        env.* policy.* critic.* critic_scheduler.* actor_scheduler.* trainer.* logger.* callback.*
        hydra.run.dir=DIR, or hydra.sweep.dir=DIR with -m: where the results go
groups  """

EVALUATE = """usage: marl evaluate RUN_DIR [eval.steps=20000] [eval.burn_in=STEPS] [seed=SEED] [trust=true]
       marl evaluate [--config-dir DIR] env=... policy=... [replicas=1] [KEY=VALUE ...]

  marl evaluate outputs/my_run/seed=0                                  the trained policy of a run
  marl evaluate env=epidemic env.graph=karate policy=never_shield      a rule, or an untrained policy

Runs the policy of RUN_DIR's checkpoint, frozen, on noise of its own, and prints the long-run average reward per
agent and step of every replica with a 95 % confidence interval (20 batch means). A run with classes of your own, or of
somebody you trust, needs trust=true: their modules are imported, which runs their code (docs/security.md)."""


PLOT = """usage: marl plot DIR ... [out=plot]

  marl plot outputs                     every finished run in and under a directory
  marl plot outputs/a outputs/b out=ab  the runs of two

Runs are grouped by the settings in which they differ; seeds and replicas are pooled. Prints a table and writes to `out`:
curves.png      average reward against steps, interquartile mean and 95 % bootstrap interval over replicas
results.md      the table: average reward over the last 10 % of training, and the evaluation
results.json    the same numbers and the curves
marl_eval.json  the layout that the marl-eval tools read; an episode is a segment of fixed length"""

EXPORT = """usage: marl export RUN_DIR FILE [replica=B] [trust=true]

Writes the policy of RUN_DIR's checkpoint as a table of probabilities to FILE, by its ending .json or .npz, for other
programs to read: of all replicas, or of one. trust=true: see marl evaluate --help.

json  policy[replica][agent][state] = [probability of every action]
npz   probabilities [B, n, S, A] (0 where an action is illegal or does not exist), num_states, num_actions [n]"""

CERTIFY = """usage: marl certify [RUN_DIR] [--config-dir DIR] [KEY=VALUE ...]

  marl certify env=random_local_mdp env.graph=line:6 policy=random_table
  marl certify env=wireless env.rows=2 env.cols=2 env.arrival=0.1 policy=aloha
  marl certify outputs/my_run/seed=0              the environment and the trained policy of a run

Bounds the left side of the paper's (4), how much Q_i can change with everything farther than kappa: for every policy at
once (Theorem 1, Lemma 4, with gamma < 1 Corollary 1) and for this one (docs/coupling.md), beside what it really is on
networks small enough to measure, and says which kappa is enough. Says why where nothing can be promised. "Every policy"
is every policy of the own state; one that sees neighbors has a certificate of its own.

keys    accuracy gamma agents horizon samples seed memory out, env.* policy.*; for a RUN_DIR trust=true
groups  """

DECAY = """usage: marl decay [RUN_DIR] [--config-dir DIR] [KEY=VALUE ...]

  marl decay env=random_local_mdp env.graph=grid:2x6 policy=random_table
  marl decay env=random_local_mdp env.graph=line:16 policy=random_table agents=[0,8]
  marl decay outputs/my_run/seed=0                the environment and the trained policy of a run

Measures the left side of the paper's (4) exactly, at all joint pairs of a small network and at random ones of a larger
one, fits its rate, and says which kappa was enough.

keys    accuracy agents samples seed memory out, env.* policy.*; for a RUN_DIR trust=true
groups  """

OPTIMUM = """usage: marl optimum [RUN_DIR] [--config-dir DIR] [KEY=VALUE ...]

  marl optimum env=epidemic out=outputs/epidemic
  marl optimum env=load_balancing env.graph=ring:5 env.buffer=2 best_local=[0,1,2] starts=10
  marl optimum outputs/my_run/seed=0              the environment of a run

Prints what a score has to be seen beside, and writes it to optimum.json in `out`, average reward per agent and step:
uniform     every legal action alike
rules       those of the system, each with its best setting
best rule   of agents that see their own state, or so many hops: all are tried where they are few
best policy the same, each agent with its own, by ascent from several starts: the best may be higher
optimum     one mind that sees all and chooses all, in a bracket; for small networks
bound       no policy can earn more, on networks of any size
Exact where it can be, else simulated, with a 95 % interval. marl plot finds the file in and under its directories and
shows scores as the share (score - uniform) / (reference - uniform); marl train references=DIR draws it beside the curve.

keys    best_local starts steps seed memory out, env.*; for a RUN_DIR trust=true
groups  """

GRAPHS = """usage: marl graphs [NAME|FILE]

  marl graphs                           all graphs that have names: nodes, edges, degrees, diameter
  marl graphs germany50                 one of them: components, how many nodes have which degree
  marl graphs my_graph.csv              a file, or a form such as grid:5x5: whatever env.graph takes

The graphs come with networkx and, for backbones, power grids and areas that touch, with other packages:
pip install 'networked-marl[graphs]'"""


WATCH = """usage: marl watch [RUN_DIR] [--config-dir DIR] [KEY=VALUE ...]

  marl watch outputs/my_run/seed=0                the trained policy of a run
  marl watch env=wireless policy=aloha            a rule, or an untrained policy
  marl watch env=coloring env.graph=my_graph.txt steps=50 out=movie.gif

Writes a page that needs no network: agents colored by state, marked by action, outlined by reward, the average reward
below; play, pause, step. What it shows is what marl evaluate sees with the same seed and eval.burn_in=0.

keys    steps seed replica out, env.* policy.*; for a RUN_DIR trust=true
groups  """


def of(command: str) -> str:
    """Gives the help of one command."""
    if command == "train":
        return TRAIN + "\n        ".join(_groups())
    if command in ("certify", "decay", "watch"):
        shown = [line for line in _groups() if line.startswith(("env:", "policy:"))]
        return {"certify": CERTIFY, "decay": DECAY, "watch": WATCH}[command] + "\n        ".join(shown)
    if command == "optimum":
        return OPTIMUM + "\n        ".join(line for line in _groups() if line.startswith("env:"))
    return {"evaluate": EVALUATE, "plot": PLOT, "export": EXPORT, "graphs": GRAPHS}[command]


def conf_dir() -> Path:
    """Finds where the yaml files are: beside the package in a checkout, inside it in an installed wheel."""
    package = Path(__file__).resolve().parent.parent
    inside, beside = package / "conf", package.parent / "conf"
    return inside if inside.is_dir() else beside


def _groups() -> list[str]:
    def options(group: Path) -> str:
        return ", ".join(sorted(path.stem for path in group.glob("*.yaml")))

    hidden = ("hydra", "scheduler", "__pycache__")
    return [f"{g.name}: {options(g)}" for g in sorted(conf_dir().iterdir()) if g.is_dir() and g.name not in hidden]
