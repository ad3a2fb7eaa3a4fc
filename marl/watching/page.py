"""The page is one file: data, bokeh's script and the player. It fetches nothing, and no text in it becomes markup."""

import base64
import hashlib
import html
import json
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from marl.core.errors import ConfigError
from marl.watching.figures import averages, curve, marks_of, network
from marl.watching.recording import Recording
from marl.watching.scene import Scene, Words

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""What a browser may do with the page: nothing is fetched; but for the two scripts, told by their hashes, none is run."""


def html_page(scene: Scene, recording: Recording) -> bytes:
    """Writes the page, UTF-8. Errors: `ConfigError` if bokeh is not installed."""
    try:
        from bokeh.resources import Resources
    except ModuleNotFoundError:
        raise ConfigError("a page needs bokeh: pip install networked-marl[watch]") from None
    here = files("marl.watching")
    player = (here / "page.js").read_text(encoding="utf-8")
    library = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in (library, player))
    written = Template((here / "page.html").read_text(encoding="utf-8")).substitute(
        policy=f"{POLICY}; script-src {hashes}",
        title=html.escape(scene.title),
        film=_json(_film(scene, recording)),
        library=library,
        player=player,
    )
    return written.encode()


def _film(scene: Scene, recording: Recording) -> dict[str, Any]:
    from bokeh.embed import json_item

    words: dict[str, int] = {}
    return {
        "agents": scene.agents,
        "steps": len(recording.r),
        "s": _numbers(recording.s),
        "a": _numbers(recording.a),
        "r": _numbers(recording.r),
        "stateNames": _numbered(scene.state_names, words),
        "actionNames": _numbered(scene.action_names, words),
        "words": list(words),
        "marks": marks_of(scene),
        "averages": averages(recording.r).tolist(),
        "figures": [json_item(network(scene, recording), "network"), json_item(curve(recording.r), "curve")],
    }


def _numbered(names: Words, words: dict[str, int]) -> list[dict[int, int]]:
    """Replaces names by their numbers in `words`, where new ones are put."""
    return [{k: words.setdefault(name, len(words)) for k, name in own.items()} for own in names]


def _numbers(x: np.ndarray) -> dict[str, str]:
    """Packs numbers as base64, whole ones into as few bytes as hold the largest, the first byte the lowest."""
    kind = np.min_scalar_type(int(x.max())) if x.dtype.kind == "i" else x.dtype
    return {"kind": kind.name, "data": base64.b64encode(x.astype(kind.newbyteorder("<")).tobytes()).decode()}


def _json(content: Any) -> str:
    """Writes JSON that no script tag ends in."""
    text = json.dumps(content, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
