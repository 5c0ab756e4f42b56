"""A thousand rules on one app: loaded, in force, and changed under traffic without a lost packet."""

from __future__ import annotations

import re

import pytest

from tests.bench.rules import many
from tests.functional.rules.rig import OUTSIDE, RulesRig
from tests.functional.rules.test_changes import streaming
from tests.hosts import RULESET, wait_until


def test_a_thousand_rules_change_under_traffic(shared: RulesRig) -> None:
    shared.change(many(1000))
    stream = streaming(shared.web, OUTSIDE)
    shared.change(many(1001))
    assert shared.met("web/all") > 0
    counted = stream.stop()
    assert counted["lost"] == 0, counted
    listed = shared.inside("nft list table inet nsvisor")
    assert listed.count("chain out-web-") == 1  # the one before is gone
    assert listed.count('"met/web/net-') >= 1000


@pytest.mark.parametrize(
    "change",
    [
        "flush chain inet nsvisor {chain}",
        "insert rule inet nsvisor {chain} return",
        "flush map inet nsvisor {counters}",
    ],
)
def test_what_is_changed_by_hand_in_a_long_table_is_mended(shared: RulesRig, change: str) -> None:
    shared.change(many(1000))
    listed = shared.inside(RULESET)
    chain, counters = (re.findall(rf"({words}-\w+) {{", listed)[0] for words in ("out-web", "out-counters"))
    shared.inside(f"nft {change.format(chain=chain, counters=counters)}")
    assert shared.inside(RULESET) != listed
    wait_until(lambda: shared.inside(RULESET) == listed, what="what was changed is back")
