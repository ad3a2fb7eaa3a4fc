"""The page: nothing is fetched, nothing that a file calls itself becomes markup, and it plays in a real browser."""

import json
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from marl import Coloring, ConfigError, Network, Uniform, random_local_mdp
from marl.plotting import reward_shades
from marl.watching import Recording, html_page, record, scene_of
from tests.watching.browser import Page, browser

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "&lt;b onmouseover=alert(3)&gt;",
    '"><svg onload="alert(4)">',
    "{{7*7}} @r{safe} @{agent} $$\\alpha$$ ${x} \u2028 \ud800",
)
STEPS = 12


class Hostile(Coloring):
    """It calls its states and actions names that are markup."""

    def state_name(self, i: int, s: int) -> str:
        return HOSTILE[s % 5] + str(s)

    def action_name(self, i: int, a: int) -> str:
        return HOSTILE[a] + str(a)


class Tags(HTMLParser):
    """Lists tags with their attributes, and the text of scripts."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] and self.tags[-1][0] == "script" and data.strip():
            self.scripts.append(data)


@pytest.fixture(scope="module")
def recorded() -> tuple[Hostile, Recording]:
    graph = nx.relabel_nodes(nx.path_graph(8), dict(enumerate(HOSTILE)))
    env = Hostile(Network.from_networkx(graph), 4)
    return env, record(env, Uniform(env), steps=STEPS, seed=1)


@pytest.fixture(scope="module")
def hostile(recorded: tuple[Hostile, Recording]) -> bytes:
    env, recording = recorded
    return html_page(scene_of(env, recording, f"{HOSTILE[0]}{HOSTILE[1]}"), recording)


@pytest.fixture(scope="module")
def opened(hostile: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("browser")
    (folder / "watch.html").write_bytes(hostile)
    with browser(folder / "profile") as found:
        found.open(folder / "watch.html")
        yield found


def test_there_is_nothing_to_fetch_and_no_tag_but_its_own(hostile: bytes) -> None:
    found = Tags(hostile.decode())
    assert not [tag for tag in found.tags if {"src", "href", "srcset", "data"} & tag[1].keys()]
    assert not [tag for tag, attrs in found.tags if any(name.startswith("on") for name in attrs)]
    assert {tag for tag, _ in found.tags}.isdisjoint({"link", "img", "iframe", "base", "form", "object", "svg"})
    assert [attrs.get("type") for tag, attrs in found.tags if tag == "script"] == ["application/json", None, None]
    (policy,) = (attrs["content"] for tag, attrs in found.tags if "http-equiv" in attrs)
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert policy.count("'sha256-") == 2
    assert "http" not in policy
    assert "script-src 'unsafe" not in policy


def test_the_numbers_are_packed(hostile: bytes, recorded: tuple[Hostile, Recording]) -> None:
    film = Tags(hostile.decode()).scripts[0]
    assert "<" not in film
    assert json.loads(film)["steps"] == STEPS
    env = random_local_mdp("grid:25x40")
    recording = record(env, Uniform(env), steps=200)
    assert len(html_page(scene_of(env, recording, ""), recording)) < 6e6  # 1.3 of them are bokeh's


def test_it_opens_and_asks_for_nothing(opened: Page) -> None:
    opened.mouse("move", 5, 5)
    assert opened.complaints() == []
    assert opened.evaluate("document.querySelectorAll('#network canvas, #network *').length") > 0
    assert opened.evaluate("document.querySelector('h1').textContent") == f"{HOSTILE[0]}{HOSTILE[1]}"
    assert opened.evaluate("document.querySelectorAll('h1 *, #said *, body > img').length") == 0


def test_the_policy_of_the_page_lets_nothing_else_run(opened: Page) -> None:
    """Were a name to become markup after all, its script would not be run."""
    opened.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    opened.evaluate(
        "const added = document.createElement('script'); added.textContent = 'window.ran = 2'; document.body.append(added)"
    )
    assert opened.evaluate("fetch('https://example.org').then(() => 'fetched', () => 'refused')") == "refused"
    opened.evaluate("new Promise(resolve => setTimeout(resolve, 200))")
    assert opened.evaluate("window.ran === undefined")
    opened.evaluate("document.querySelector('body > img').remove()")
    refused = "\n".join(map(str, opened.complaints()))
    for what in ("inline event handler", "inline script", "image 'file:", "https://example.org"):
        assert what in refused
    opened.events.clear()


def text_of(opened: Page) -> str:
    """All that can be read, in shadow trees too."""
    walk = """(() => {
        const read = (x) => x.nodeType === 3 ? [x.data] : ["STYLE", "SCRIPT"].includes(x.tagName) ? []
            : [...(x.shadowRoot ? read(x.shadowRoot) : []), ...[...x.childNodes].flatMap(read)];
        return read(document.body).join(" ");
    })()"""
    return " ".join(opened.evaluate(walk).split())


def place(opened: Page, i: int) -> tuple[float, float]:
    """Where agent i is on the screen."""
    found = opened.evaluate(
        """(() => {
            const view = Bokeh.index.roots[0], box = view.el.getBoundingClientRect();
            return [box.left + view.frame.x_scale.compute(source.data.x[AGENT]),
                    box.top + view.frame.y_scale.compute(source.data.y[AGENT])];
        })()""".replace("AGENT", str(i))
    )
    return float(found[0]), float(found[1])


def wait(opened: Page) -> None:
    opened.evaluate("new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve, 150)))")


def shown(name: str) -> str:
    """A name as the page writes it."""
    return " ".join(name.encode("utf-8", "replace").decode().split())


@pytest.mark.parametrize("i", range(5))
def test_pointing_at_an_agent_says_its_name_as_it_is(opened: Page, i: int) -> None:
    opened.evaluate("by(-100)")
    opened.mouse("move", *place(opened, i))
    wait(opened)
    assert shown(f"agent {i}, {HOSTILE[i]}") in text_of(opened)
    assert opened.complaints() == []


def test_a_tooltip_keeps_up_with_the_steps(opened: Page, recorded: tuple[Hostile, Recording]) -> None:
    """While the mouse stays where it is."""
    env, recording = recorded
    opened.evaluate("by(-100)")
    opened.mouse("move", *place(opened, 3))
    for k in range(1, STEPS):
        opened.evaluate("document.getElementById('forward').click()")
        wait(opened)
        tip = text_of(opened).partition("agent 3,")[2]
        s, a, r = (int(part[k, 3]) for part in recording)
        assert f"state: {shown(env.state_name(3, s))} action: {shown(env.action_name(3, a))} reward: {r}" in tip
    opened.mouse("move", 5, 5)


def test_the_legend_says_names_as_they_are(opened: Page, recorded: tuple[Hostile, Recording]) -> None:
    said = text_of(opened)
    for name in (*(recorded[0].state_name(0, s) for s in range(8)), *(recorded[0].action_name(0, a) for a in range(4))):
        short = shown(name)
        assert (short if len(short) <= 30 else f"{short[:27]}...") in said


def at(opened: Page) -> int:
    return int(opened.evaluate("step"))


def test_every_step_shows_what_was_recorded(opened: Page, recorded: tuple[Hostile, Recording]) -> None:
    env, recording = recorded
    opened.evaluate("by(-100)")
    for k in range(STEPS):
        assert at(opened) == k
        data = opened.evaluate("Object.fromEntries(Object.entries(source.data).map(([key, x]) => [key, Array.from(x)]))")
        np.testing.assert_array_equal(data["s"], recording.s[k])
        np.testing.assert_array_equal(data["r"], recording.r[k])
        assert data["state"] == [shown(env.state_name(i, int(s))) for i, s in enumerate(recording.s[k])]
        assert data["mark"] == [["circle", "square", "diamond", "triangle"][a] for a in recording.a[k]]
        average = float(opened.evaluate("document.getElementById('now').textContent").rpartition(" ")[2])
        assert average == pytest.approx(recording.r[: k + 1].mean(), rel=1e-3)
        assert opened.evaluate("cursor.location") == k + 1
        opened.evaluate("document.getElementById('forward').click()")
    assert at(opened) == STEPS - 1  # there is no step after the last


def test_buttons_keys_and_the_slider_move_the_steps(opened: Page) -> None:
    opened.evaluate("by(-100)")
    press = "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'KEY', bubbles: true}))"
    moves = [
        ("document.getElementById('back').click()", 0),
        ("document.getElementById('forward').click()", 1),
        (press.replace("KEY", "ArrowRight"), 2),
        (press.replace("KEY", "ArrowRight"), 3),
        (press.replace("KEY", "ArrowLeft"), 2),
        ("slider.value = 7; slider.dispatchEvent(new Event('input'))", 7),
        ("document.getElementById('back').click()", 6),
    ]
    for move, step in moves:
        opened.evaluate(f"void ({move.replace('; ', ', ')})")
        assert at(opened) == step
        assert opened.evaluate("slider.value") == str(step)


def test_play_goes_to_the_end_and_pause_stays(opened: Page) -> None:
    opened.evaluate("by(-100); speed.value = '60'")
    opened.mouse("click", *opened.evaluate("(({left, top}) => [left + 5, top + 5])(play.getBoundingClientRect())"))
    assert opened.evaluate("play.textContent") == "Pause"
    opened.until("!playing")
    assert (at(opened), opened.evaluate("play.textContent")) == (STEPS - 1, "Play")
    opened.evaluate("speed.value = '5'; play.click()")  # again from the start
    opened.until("step >= 2")
    opened.evaluate("play.click()")
    paused = at(opened)
    opened.evaluate("new Promise(resolve => setTimeout(resolve, 600))")
    assert at(opened) == paused < STEPS - 1
    assert opened.evaluate("play.textContent") == "Play"


def test_an_agent_that_is_clicked_is_followed(opened: Page, recorded: tuple[Hostile, Recording]) -> None:
    env, recording = recorded
    opened.evaluate("by(-100)")
    opened.mouse("click", *place(opened, 1))
    wait(opened)
    for k in range(3):
        s, a, r = (int(part[k, 1]) for part in recording)
        names = shown(env.state_name(1, s)), shown(env.action_name(1, a))
        said = opened.evaluate("document.getElementById('said').textContent")
        assert said == f"{shown('agent 1, ' + HOSTILE[1])}: {names[0]}; {names[1]}; reward {r}"
        opened.evaluate("by(1)")
    assert opened.evaluate("[ring.data.x[0], ring.data.y[0]].join()") == opened.evaluate(
        "[source.data.x[1], source.data.y[1]].join()"
    )
    assert opened.complaints() == []


@pytest.mark.parametrize("case", ["one agent, one step", "many kinds", "losses"])
def test_other_networks_open_too(opened: Page, hostile: bytes, tmp_path: Path, case: str) -> None:
    env = {
        "one agent, one step": lambda: Coloring("line:1", 1),
        "many kinds": lambda: Coloring("ring:6", 12),
        "losses": lambda: random_local_mdp("line:3", reward_low=-2.0, num_actions=5),
    }[case]()
    recording = record(env, Uniform(env), steps=1 if "one" in case else 5)
    (tmp_path / "other.html").write_bytes(html_page(scene_of(env, recording, case), recording))
    opened.open(tmp_path / "other.html")
    wait(opened)
    assert opened.complaints() == []
    assert ("below 0" in text_of(opened)) == (case == "losses")
    shades = opened.evaluate("Array.from({length: steps * n}, (_, k) => shade(r[k]))")
    np.testing.assert_allclose(shades, reward_shades(recording.r).flatten())
    if case == "losses":
        assert (min(shades), max(shades)) == (-1.0, 1.0)
    opened.evaluate("by(1)")
    assert at(opened) == min(1, len(recording.r) - 1)


def test_without_bokeh_the_command_that_installs_it_is_said(
    recorded: tuple[Hostile, Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bokeh.resources", None)
    with pytest.raises(ConfigError, match=r"^a page needs bokeh: pip install networked-marl\[watch\]$"):
        html_page(scene_of(recorded[0], recorded[1], ""), recorded[1])
