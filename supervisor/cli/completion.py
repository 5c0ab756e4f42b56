"""`nsvisor completion`, and what the shells complete."""

from __future__ import annotations

import os
from pathlib import Path

import click

SHELLS = ("bash", "zsh", "fish")


def instance_names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the instances that begin so, as the run-dir knows them: asking the bus would need root."""
    folder = Path(os.environ.get("NSVISOR_RUN_DIR", "/run/nsvisor")) / "instances"
    try:
        return sorted(path.name for path in folder.iterdir() if path.name.startswith(incomplete))
    except OSError:
        return []


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion_command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  nsvisor completion bash > /etc/bash_completion.d/nsvisor
    zsh:   nsvisor completion zsh > "${fpath[1]}/_nsvisor"
    fish:  nsvisor completion fish > ~/.config/fish/completions/nsvisor.fish
    """  # noqa: D301  # click's mark is the character, not the two
    from click.shell_completion import get_completion_class

    from supervisor.cli.main import nsvisor

    completion = get_completion_class(shell)
    assert completion is not None
    # The class asks the installed bash for its version in `source`; the text alone does not need it.
    print(completion.source_template % completion(nsvisor, {}, "nsvisor", "_NSVISOR_COMPLETE").source_vars())
