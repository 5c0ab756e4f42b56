"""`nsvisor graph`: what is drawn, where, and in which languages."""

from __future__ import annotations

import itertools
import re
from types import ModuleType
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli.graph import System, dot, draw, mermaid, svg
from supervisor.cli.graph.layout import GAP, place, settle
from supervisor.cli.graph.picture import Column
from tests.conftest import Golden
from tests.unit.cli.graphed import edge_node, trouble

SVG = "{http://www.w3.org/2000/svg}"
LANGUAGES = (svg, dot, mermaid)
EMPTY = System("nothing", {}, {}, {}, {}, {})


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_each_language_draws_as_agreed(language: ModuleType, golden: Golden) -> None:
    name = language.__name__.rpartition(".")[2]
    golden(f"graph-edge-node-{name}", language.render(draw(edge_node())))
    golden(f"graph-trouble-{name}", language.render(draw(trouble())))


def test_the_svg_parses_and_names_everything() -> None:
    for system in (edge_node(), trouble()):
        root = ET.fromstring(svg.render(draw(system)))
        texts = [element.text or "" for element in root.iter(f"{SVG}text")]
        for name in [system.host, *system.uplinks, *system.instances, *(app.app for app in system.apps.values())]:
            assert name in texts, (name, texts)
        for status in system.instances.values():
            assert status.subnet is None or str(status.subnet) in texts
            for tunnel in system.managers[status.name].tunnels if status.name in system.managers else ():
                assert tunnel.name in texts
                assert set(tunnel.networks) <= set(texts)
            for one in status.portmaps:
                assert f"{one.uplink}:8080 → 80/tcp" in texts, (one, texts)
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
            "svg", "title", "style", "rect", "text", "g", "circle", "path",
        }  # fmt: skip
    root = ET.fromstring(svg.render(draw(edge_node())))
    assert "outside" in [element.text for element in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_empty_system_is_drawn_too(language: ModuleType) -> None:
    assert "nothing" in language.render(draw(EMPTY))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_order_of_the_tables_changes_nothing(language: ModuleType) -> None:
    system = edge_node()
    turned = msgspec.structs.replace(
        system,
        uplinks=dict(reversed(list(system.uplinks.items()))),
        instances=dict(reversed(list(system.instances.items()))),
        apps=dict(reversed(list(system.apps.items()))),
    )
    assert language.render(draw(turned)) == language.render(draw(system))


def test_an_app_of_two_instances_is_one_box_where_it_is_one_namespace() -> None:
    picture = draw(edge_node())
    apps = [node.title for node in picture.of(Column.APP)]
    assert apps == ["app1", "app2", "app3", "app4", "app5", "app6"]
    [first] = [node for node in picture.nodes if node.title == "app1"]
    assert first.lines == ("10.10.1.11 in ni1", "192.168.1.11 in ni2")
    assert [edge.left for edge in picture.edges if edge.right == first.id] == ["instance ni1", "instance ni2"]
    assert [node.title for node in draw(trouble()).of(Column.APP)] == ["web", "web"]  # two tenants' apps


def test_boxes_neither_touch_nor_leave_the_picture() -> None:
    for system in (edge_node(), trouble()):
        picture = draw(system)
        layout = place(picture)
        for column in (Column.UPLINK, Column.INSTANCE, Column.APP):
            boxes = sorted((layout.boxes[node.id] for node in picture.of(column)), key=lambda box: box.y)
            for above, below in itertools.pairwise(boxes):
                assert below.y - (above.y + above.height) >= GAP - 0.001
            for box in boxes:
                assert layout.frame.x < box.x < box.right < layout.frame.right < layout.width
                assert layout.frame.y < box.y < box.y + box.height < layout.frame.y + layout.frame.height


def test_what_is_too_long_is_cut_and_told_whole_where_the_mouse_points() -> None:
    text = svg.render(draw(trouble()))
    whole = "&lt;/text&gt;&lt;script&gt;alert(1)&lt;/script&gt;"
    assert any(whole in title for title in re.findall(r"<title>(.*?)</title>", text, re.DOTALL))
    assert whole not in "".join(re.findall(r"<text.*?</text>", text))
    assert "…</text>" in text
    assert "<script" not in text


@given(st.lists(st.tuples(st.floats(-1000, 1000), st.floats(1, 200)), max_size=20))
def test_settled_boxes_keep_order_and_distance(wanted: list[tuple[float, float]]) -> None:
    heights = [height for _, height in wanted]
    found = settle([want for want, _ in wanted], heights)
    for (one, above), (other, below) in itertools.pairwise(zip(found, heights, strict=True)):
        assert other - one >= (above + below) / 2 + GAP - 0.001
    if len(wanted) == 1:
        assert found == pytest.approx([wanted[0][0]])
