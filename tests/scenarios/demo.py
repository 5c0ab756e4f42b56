"""Narrates the two tenants: each step, its proof, and a table at the end. Run by scripts/demo."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.scenarios.two_tenants import CONFIG, STEPS, TwoTenants


def machine_state() -> set[str]:
    """Return what a careless demo would change of this machine: links, named namespaces, mounts."""
    links = {f"link {link.name}" for link in Path("/sys/class/net").iterdir()}
    pins = {f"namespace {pin.name}" for pin in Path("/run/netns").glob("*")}
    mounts = {f"mount {line.split()[4]}" for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    return links | pins | mounts


def main() -> int:
    """Run all steps, stopping at the first that fails; 0 if all held and this machine is as it was."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    before = machine_state()
    table = Table(box=box.SIMPLE_HEAD, title="Two tenants, one subnet", title_justify="left")
    for heading in ("", "promise", "proof", "took"):
        table.add_column(heading, justify="right" if heading == "took" else "left")
    console.print("A throwaway host (192.168.0.2), a gateway (192.168.0.1), a web server outside (198.51.100.1).")
    console.print(f"\n[dim]{escape(CONFIG)}[/dim]")
    failed = False
    with TwoTenants() as tenants:
        for number, step in enumerate(STEPS, 1):
            promise = (step.__doc__ or "").strip()
            console.print(f"[bold]{number}. {escape(promise)}[/bold]")
            began = time.monotonic()
            try:
                proof = step(tenants)
            except (AssertionError, OSError) as error:
                proof, failed = f"{error}", True
                console.print(f"[red]{escape(tenants.daemon.log())}[/red]")
            took = f"{time.monotonic() - began:.1f} s"
            console.print(f"   {escape(proof)}", style="red" if failed else "green")
            table.add_row("[red]✗[/red]" if failed else "[green]✓[/green]", escape(promise), escape(proof), took)
            if failed:
                break
    console.print()
    console.print(table)
    changed = machine_state() ^ before
    console.print(f"This machine: {'changed: ' + ', '.join(sorted(changed)) if changed else 'as it was before'}.")
    return 1 if failed or changed else 0


if __name__ == "__main__":
    sys.exit(main())
