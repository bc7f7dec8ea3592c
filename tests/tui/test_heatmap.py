"""The heat map: every GPU is one sign, and a lost one cannot be taken for an idle one."""

from types import ModuleType

import pytest
from textual.app import App, ComposeResult

from fleetward.model.fleet_view import NodeView
from fleetward.tui.widgets.heatmap import IDLE, LOST, UNKNOWN, HeatMap, cell

pytestmark = pytest.mark.anyio


class MapApp(App[None]):
    """One heat map."""

    def __init__(self, nodes: tuple[NodeView, ...]) -> None:
        super().__init__()
        self.map = HeatMap()
        self.opened: list[str] = []
        self._nodes_given = nodes

    def compose(self) -> ComposeResult:
        yield self.map

    def on_mount(self) -> None:
        self.map.show(self._nodes_given)
        self.map.focus()

    def on_heat_map_opened(self, event: HeatMap.Opened) -> None:
        if type(event) is HeatMap.Opened:
            self.opened.append(event.node)

    @property
    def lines(self) -> list[str]:
        return [self.map.render_line(y).text for y in range(self.map.size.height)]


def test_every_state_of_a_gpu_has_a_sign_of_its_own(sample: ModuleType) -> None:
    signs = [cell(sample.gpu(0, share))[0] for share in (0.0, 0.05, 0.5, 1.0)]
    assert signs == [IDLE, "▁", "▅", "█"]
    assert cell(sample.gpu(0, up=False))[0] == LOST
    assert cell(sample.gpu(0, up=None))[0] == UNKNOWN


async def test_every_node_of_a_small_fleet_has_a_line_with_what_holds_it(sample: ModuleType) -> None:
    app = MapApp(sample.small_fleet().nodes)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert app.lines[0].rstrip() == " gpu001 ████████ ◐ mixed        jobs 41"
        assert app.lines[1].rstrip() == " gpu002 ███✗████ ▼ draining     jobs 41  held by i12  i12"


async def test_a_large_fleet_is_wrapped_and_walked_by_arrows(sample: ModuleType) -> None:
    app = MapApp(tuple(sample.node(f"gpu{number:03}") for number in range(300)))
    async with app.run_test(size=(200, 20)) as pilot:
        await pilot.pause()
        across = app.map.across
        assert across > 4
        await pilot.press("down", "down", "right")
        assert app.map.cursor_node is not None
        assert app.map.cursor_node.name == f"gpu{2 * across + 1:03}"
        await pilot.press("end", "enter")
        await pilot.pause()
        assert app.opened == ["gpu299"]
        assert any("gpu299" in line for line in app.lines)


async def test_the_cursor_stays_with_its_node(sample: ModuleType) -> None:
    nodes = tuple(sample.node(f"gpu{number:03}") for number in range(6))
    app = MapApp(nodes)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("down", "down")
        app.map.show(nodes[1:])
        assert app.map.cursor_node is not None
        assert app.map.cursor_node.name == "gpu002"
        app.map.show(())
        assert app.map.cursor_node is None
        assert "no nodes yet" in app.lines[0]


async def test_names_are_made_harmless(sample: ModuleType) -> None:
    app = MapApp((sample.node("gp\x1b[2Ju", reason=sample.EVIL),))
    async with app.run_test(size=(120, 24)) as pilot:
        await pilot.pause()
        assert r"gp\x1b[2Ju" in app.lines[0]
        assert "[bold]red[/]" in app.lines[0]
        assert "\x1b" not in app.lines[0]
