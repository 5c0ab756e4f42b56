"""What is refused of attachments and switches before anything is tried."""

from __future__ import annotations

import pytest

from pubsub.config import read_files


def said(text: str) -> list[str]:
    found = read_files({"a.yaml": f"instances: {text}".encode()})
    return [f"{problem.field}: {problem.message}" for problem in found.problems]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{red: {apps: {a: {attach: {netns: ../x}}}}}", "can't be a namespace's name"),
        ("{red: {apps: {a: {attach: {link: br0}}}}}", "an instance has an interface 'br0' of its own"),
        ("{red: {apps: {a: {attach: {tap: up0}}}}}", "an instance has an interface 'up0' of its own"),
        ("{red: {apps: {a: {attach: {link: p-b}}}}}", "an instance has an interface 'p-b' of its own"),
        ("{red: {apps: {a: {attach: {link: lo}}}}}", "an instance has an interface 'lo' of its own"),
        ("{red: {apps: {a: {attach: {tap: t0, configure: false}}}}}", "a tap has no other end"),
        ("{red: {apps: {a: {attach: {netns: x, tap: t0}}}}}", "got netns and tap"),
        ("{red: {apps: {a: {attach: {netns: x, ifname: lo}}}}}", "'lo' is there already"),
        ("{red: {apps: {a: {attach: {link: e0}}, b: {attach: {tap: e0}}}}}", "tap e0 is app a's"),
        ("{red: {apps: {a: {attach: {netns: x}}, b: {attach: {netns: x}}}}}", "eth0 of netns x is app a's"),
        ("{blue: {apps: {a: {attach: {link: e0}}}}, red: {apps: {a: {attach: {link: e0}}}}}", "instance blue's"),
        ("{blue: {apps: {a: {attach: {netns: red}}}}, red: {}}", "namespace red is instance red's own"),
        ("{red: {type: switch, uplinks: [e3]}, blue: {uplinks: [e3]}}", "it is lent to instance red"),
        ("{red: {type: switch, uplinks: [e3]}, blue: {type: switch, uplinks: [e3]}}", "link e3 is instance red's"),
        ("{red: {type: switch}}", "a switch needs its uplinks by name"),
        ("{red: {type: switch, uplinks: [e3], subnet: 10.1.0.0/24}}", "a switch has no address and no services"),
        ("{red: {type: switch, uplinks: [e3], dns: {domain: x.y}}}", "a switch has no address and no services"),
        ("{red: {type: switch, uplinks: [e3], apps: {a: {ports: ['80:80']}}}}", "reached by their own addresses"),
        (
            "{red: {type: switch, uplinks: [e3], apps: {a: {address: 10.1.0.1}}}}",
            "get their addresses from the network",
        ),
        ("{red: {type: switch, uplinks: [e3], apps: {a: {vlan: 4095}}}}", "4095 is no VLAN"),
        ("{red: {type: switch, uplinks: [e3, e4], switch: {shared: true}}}", "the only one of its switch"),
        ("{red: {type: switch, uplinks: [e3], switch: {shared: true, stp: true}}}", "no part in a spanning tree"),
        (
            "{red: {type: switch, uplinks: [e3], apps: {a: {rules: [{host: cdn.test}]}}}}",
            "nobody resolves names in a switch",
        ),
        ("{red: {switch: {lldp: true}}}", "is no switch"),
        ("{red: {apps: {a: {attach: {link: e0}, ports: ['80:80']}}}}", "nobody knows the address"),
        ("{red: {apps: {a: {vlan: 7}}}}", "only the apps of a switch have VLANs"),
    ],
)
def test_a_mistake_is_told(text: str, wanted: str) -> None:
    assert any(wanted in line for line in said(text)), said(text)


@pytest.mark.parametrize(
    "text",
    [
        "{red: {apps: {a: {attach: {netns: x}}, b: {attach: {netns: x, ifname: eth1}}}}}",
        "{red: {apps: {a: {attach: {netns: x}}}}, blue: {apps: {a: {attach: {netns: x, ifname: eth1}}}}}",
        "{red: {type: switch, uplinks: [e3], switch: {shared: true}}, blue: {uplinks: [e3]}}",
        "{red: {type: switch, uplinks: [e3, e4], switch: {stp: true}, apps: {a: {vlan: 7}}}}",
        "{red: {type: switch, uplinks: []}}",
    ],
)
def test_what_can_be_had_is_no_mistake(text: str) -> None:
    assert said(text) == []
