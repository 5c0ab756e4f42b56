"""A thousand rules on one app: loaded, in force, and changed under traffic without a lost packet."""

from __future__ import annotations

from tests.bench.rules import many
from tests.functional.rules.rig import OUTSIDE, RulesRig
from tests.functional.rules.test_changes import streaming


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
