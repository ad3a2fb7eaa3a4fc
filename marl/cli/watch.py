"""`marl watch` shows a network under a policy: a page that plays it in a browser, or a moving picture."""

from pathlib import Path
from typing import Any

from marl.cli.subject import check_writable, subject
from marl.core.checks import integer
from marl.core.environment import finite_environment
from marl.core.errors import ConfigError
from marl.core.files import write_atomically
from marl.runs.settings import threads_put_back, use_threads
from marl.watching import gif_movie, html_page, record, scene_of

KINDS = {".html": html_page, ".gif": gif_movie}


@threads_put_back()
def main(arguments: list[str]) -> int:
    """Writes the file and prints where it is."""
    settings, env, policy, name, run = subject("watch", arguments, _checked)
    env = finite_environment(env, "marl watch")
    out = Path(settings["out"] or (run or Path()) / "watch.html")
    check_writable(str(out.parent))
    use_threads(None)
    recording = record(env, policy, **{key: settings[key] for key in ("steps", "seed", "replica")})
    which = f"{name} (replica {settings['replica']})" if run else name
    title = f"{type(env).__name__}, {env.n} agents; {type(policy).__name__} policy; {which}"
    content = KINDS[out.suffix](scene_of(env, recording, title), recording)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda file: file.write(content))
    print(f"{title}; average reward of {len(recording.r)} steps {recording.r.mean():.5f}")
    print(f"written: {out}")
    return 0


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    out = settings["out"]
    if out is not None and (not isinstance(out, str) or Path(out).suffix not in KINDS):
        raise ConfigError(f"out must be a file that ends in {' or '.join(KINDS)}, got {out!r}")
    least = {"steps": 1, "seed": 0, "replica": 0}
    return {**settings, **{key: integer(key, settings[key], low) for key, low in least.items()}}
