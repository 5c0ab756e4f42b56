"""What stands in the way of a duty is its own trouble: the manager goes on, and so does the duty afterwards."""

from __future__ import annotations

from tests.functional.nsmanager.rig import NAME
from tests.functional.observe.rig import HOST, Rig
from tests.hosts import wait_until

TCPDUMP = ["sh", "-c", "exec tcpdump -ni nflog:1 2>&1"]


def test_a_group_and_a_port_that_others_have(rig: Rig) -> None:
    rig.kill()
    other = wait_until(lambda: rig.host.start(TCPDUMP, until="listening", netns=NAME), what="a tcpdump")
    page = rig.host.serve_page("somebody else's", netns=NAME)
    rig.start()
    wait_until(lambda: "flow log: " in rig.log() and "metadata: " in rig.log(), what="both are told")
    rig.publish(mtu=1400)
    rig.wait_ready()  # the rest goes on
    rig.host.serve_page("host")
    rig.free.fetch(f"http://{HOST}/")
    for process in (other, page):
        process.kill()
        process.wait()
    wait_until(lambda: '"app": "free"' in metadata(rig), what="the metadata server")

    def told() -> bool:
        rig.free.fetch(f"http://{HOST}/")
        return bool(rig.flows.find(destination=HOST))

    wait_until(told, what="the flow log")
    assert rig.alive(rig.pid)


def metadata(rig: Rig) -> str:
    url = "http://169.254.169.254/nsvisor/v1/app.json"
    return rig.free.run(["curl", "-s", "--max-time", "1", url], check=False).stdout


def test_a_log_is_switched_off_and_on(rig: Rig) -> None:
    log = rig.config.log
    rig.publish(log=log.__class__())
    rig.wait_ready()
    known = len(rig.flows.records)
    assert rig.inside("sysctl -n net.netfilter.nf_conntrack_acct").strip() == "0"
    rig.publish(log=log)
    rig.wait_ready()

    def told() -> bool:
        rig.free.fetch(f"http://{HOST}/")
        return len(rig.flows.records) > known

    wait_until(told, what="records")
