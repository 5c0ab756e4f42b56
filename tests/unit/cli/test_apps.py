"""What `get` prints of apps."""

from __future__ import annotations

from ipaddress import IPv4Address

from pubsub.topics import AppNetworkStatus, RuleStatus
from supervisor.cli.kinds import APPS
from supervisor.cli.output import render_rows
from tests.conftest import Golden

RULED = AppNetworkStatus(
    instance="red",
    app="web",
    address=IPv4Address("10.1.0.80"),
    mac="02:00:00:00:00:80",
    attached=True,
    kind="run",
    pid=4711,
    rules=(
        RuleStatus(name="cdn", direction="out", match="to cdn.test and below", action="allow"),
        RuleStatus(name="default", direction="both", match="what no rule matches", action="drop"),
    ),
    spoofed=12,
)
FREE = AppNetworkStatus(instance="red", app="db", reason="no container with pid 7")


def test_apps_are_listed_with_how_many_rules_they_have_and_what_they_spoofed(golden: Golden) -> None:
    rows = APPS.all_rows({"red/db": FREE, "red/web": RULED})
    golden("get-apps", "\n\n".join(render_rows(APPS.columns, rows, output, "name") for output in ("table", "wide")))
