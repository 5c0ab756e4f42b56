"""Narrates a scenario: each step, its proof, a picture, and a table at the end. Run by scripts/demo."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.scenarios import edge_node, two_tenants


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One network, and what is promised about it."""

    title: str
    place: str  # the network around, in words
    config: str
    make: Callable[[], Any]  # a context manager, with a `daemon`
    steps: Sequence[Callable[[Any], str]]  # each returns its proof, or raises AssertionError
    drawn_after: Callable[[Any], str]  # the step after which there is most to see


QUICK = Scenario(
    "Two tenants, one subnet",
    "A throwaway host (192.168.0.2), a gateway (192.168.0.1), a web server outside (198.51.100.1).",
    two_tenants.CONFIG,
    two_tenants.TwoTenants,
    two_tenants.STEPS,
    two_tenants.TwoTenants.come_up,
)
WHOLE = Scenario(
    "Edge node",
    "A throwaway host with four uplinks, a gateway (.1 on each), web servers outside, two clouds behind IPsec.\n"
    "Six instances and six apps, whose subnets overlap with each other's, an uplink's and the clouds' on purpose.",
    edge_node.CONFIG,
    edge_node.EdgeNode,
    edge_node.STEPS,
    edge_node.DRAWN_AFTER,
)
PICTURE = Path("build/edge-node.svg")


def machine_state() -> set[str]:
    """Return what a careless demo would change of this machine: links, named namespaces, mounts."""
    links = {f"link {link.name}" for link in Path("/sys/class/net").iterdir()}
    pins = {f"namespace {pin.name}" for pin in Path("/run/netns").glob("*")}
    mounts = {f"mount {line.split()[4]}" for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    return links | pins | mounts


def main() -> int:
    """Play a scenario, stopping at the first step that fails; 0 if all held and this machine is as it was."""
    parser = argparse.ArgumentParser(
        "scripts/demo", description="Shows what nsvisor promises, each step with its proof."
    )
    parser.add_argument("--quick", action="store_true", help="only two tenants with one subnet, half a minute")
    parser.add_argument("--svg", type=Path, metavar="FILE", help=f"where to draw the network; default: {PICTURE}")
    options = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    before = machine_state()
    held = play(console, QUICK if options.quick else WHOLE, options.svg or (None if options.quick else PICTURE))
    changed = machine_state() ^ before
    console.print(f"This machine: {'changed: ' + ', '.join(sorted(changed)) if changed else 'as it was before'}.")
    return 0 if held and not changed else 1


def play(console: Console, scenario: Scenario, picture: Path | None) -> bool:
    """Do a scenario's steps, and draw its network on the way; tell whether all held."""
    table = Table(box=box.SIMPLE_HEAD, title=scenario.title, title_justify="left")
    for heading in ("", "promise", "proof", "took"):
        table.add_column(heading, justify="right" if heading == "took" else "left")
    console.rule(scenario.title, align="left")
    console.print(scenario.place)
    console.print(f"\n[dim]{escape(scenario.config)}[/dim]")
    failed = False
    with scenario.make() as scene:
        for number, step in enumerate(scenario.steps, 1):
            promise = (step.__doc__ or "").strip()
            console.print(f"[bold]{number}. {escape(promise)}[/bold]")
            began = time.monotonic()
            try:
                proof = step(scene)
            except (AssertionError, OSError) as error:
                proof, failed = f"{error}", True
                console.print(f"[red]{escape(scene.daemon.log())}[/red]")
            took = f"{time.monotonic() - began:.1f} s"
            console.print(f"   {escape(proof)}", style="red" if failed else "green")
            table.add_row("[red]✗[/red]" if failed else "[green]✓[/green]", escape(promise), escape(proof), took)
            if failed:
                break
            if picture is not None and step is scenario.drawn_after:
                draw(console, scene, scenario.title, picture)
    console.print()
    console.print(table)
    return not failed


def draw(console: Console, scene: Any, title: str, picture: Path) -> None:
    """Write the picture of what runs now."""
    drawn = scene.daemon.cli("graph", "--host", title, check=True).stdout
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(drawn)
    console.print(f"   the network as it is now: {picture}", style="cyan")


if __name__ == "__main__":
    sys.exit(main())
