"""The rules of the house that no linter knows: who imports whom, what is pure, how long a thing may grow.

Prints each breach as `file:line: what, and what to do`; exits with 1 if there is any.
"""

from __future__ import annotations

import ast
import fnmatch
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

LAYERS = ("pubsub", "nsmanager", "supervisor")  # each imports only itself and those before it
MAX_FILE = 400  # lines; a longer file is two ideas
MAX_FUNCTION = 60  # lines without the docstring

# Files that decide and never do: values in, values out.
PURE = (
    "pubsub/acl.py",
    "pubsub/changes.py",
    "pubsub/codec.py",
    "pubsub/config/convert.py",
    "pubsub/config/document.py",
    "pubsub/config/merge.py",
    "pubsub/config/rules*.py",
    "pubsub/errors.py",
    "pubsub/limits.py",
    "pubsub/names.py",
    "pubsub/topics/*.py",
    "pubsub/values.py",
    "pubsub/wire.py",
    "nsmanager/dns/hosts.py",
    "nsmanager/dns/message.py",
    "nsmanager/dns/segments.py",
    "nsmanager/firewall/*.py",
    "nsmanager/item.py",
    "nsmanager/marks.py",
    "nsmanager/metadata/caller.py",
    "nsmanager/metadata/ec2.py",
    "nsmanager/metadata/pages.py",
    "nsmanager/names.py",
    "nsmanager/observing.py",
    "nsmanager/packets.py",
    "nsmanager/place.py",
    "nsmanager/plan.py",
    "nsmanager/residents.py",
    "nsmanager/services/*.py",
    "nsmanager/vpn/messages.py",
    "nsmanager/vpn/reading.py",
    "nsmanager/vpn/routing.py",
    "nsmanager/vpn/secrets.py",
    "nsmanager/vpn/words.py",
    "supervisor/allocation.py",
    "supervisor/backoff.py",
    "supervisor/facts.py",
    "supervisor/firewall.py",
    "supervisor/instances/*.py",
    "supervisor/kernel_tables.py",
    "supervisor/links.py",
    "supervisor/names.py",
    "supervisor/passage/*.py",
    "supervisor/plan.py",
    "supervisor/probing/health.py",
    "supervisor/probing/probes.py",
    "supervisor/probing/track.py",
    "supervisor/rule_words.py",
    "supervisor/sharing.py",
    "supervisor/status.py",
    "supervisor/uplinks/*.py",
)
# What a pure file may import of ours besides other pure files: their effects go through a parameter, `ns`.
PURE_BY_PARAMETER = (
    *("nsmanager/items/*.py", "nsmanager/reconcile.py"),
    *("supervisor/items.py", "supervisor/packet_steering.py"),
)
EFFECTS = frozenset(
    {"asyncio", "concurrent", "ctypes", "fcntl", "glob", "io", "logging", "multiprocessing", "os", "psutil"}
    | {"random", "secrets", "select", "selectors", "shutil", "signal", "socket", "subprocess", "tempfile", "threading"}
    | {"time", "urllib", "uuid", "zmq"}
)
EFFECTIVE_CALLS = frozenset({"open", "print", "input", "exec", "eval"})


def matches(file: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(file, pattern) for pattern in patterns)


def imports(tree: ast.AST) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Yield line, module and the names taken from it, for each import; those for the type checker only are left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or "", tuple(alias.name for alias in node.names)
        else:
            yield from imports(node)


def files_of(module: str, names: tuple[str, ...]) -> Iterator[str]:
    """Yield the files that an import of ours may mean, as `pubsub/topics.py` or, for a name of a package, its own."""
    path = module.replace(".", "/")
    if Path(path).is_dir():
        for name in names or ("__init__",):
            inner = f"{path}/{name}"
            yield f"{inner}.py" if Path(f"{inner}.py").exists() else f"{path}/__init__.py"
    else:
        yield f"{path}.py"


def direction(file: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    layer = file.split("/", 1)[0]
    if layer not in LAYERS:
        return
    above = LAYERS[LAYERS.index(layer) + 1 :]
    for line, module, _ in imports(tree):
        if module.split(".")[0] in above:
            yield line, f"{layer} imports {module}; imports go {' <- '.join(LAYERS)}: move the thing down"
        if module.split(".")[0] == "tests":
            yield line, f"imports {module}; the product doesn't know its tests"


def purity(file: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    if not matches(file, PURE):
        return
    for line, module, names in imports(tree):
        if module.split(".")[0] in EFFECTS:
            yield line, f"a pure file imports {module}; hand the fact in as a parameter"
        if module.split(".")[0] in LAYERS:
            for other in files_of(module, names):
                if not matches(other, PURE + PURE_BY_PARAMETER):
                    yield line, f"a pure file imports {other}, which isn't pure"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in EFFECTIVE_CALLS:
            yield node.lineno, f"a pure file calls {node.func.id}()"


def length(_file: str, tree: ast.AST, lines: int) -> Iterator[tuple[int, str]]:
    if lines > MAX_FILE:
        yield 1, f"{lines} lines, {MAX_FILE} allowed; it is two ideas: split it"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            start = node.body[1].lineno if ast.get_docstring(node) and len(node.body) > 1 else node.lineno
            if node.end_lineno - start > MAX_FUNCTION:
                yield node.lineno, f"{node.name} has {node.end_lineno - start} lines, {MAX_FUNCTION} allowed: split it"


def breaches(file: str, text: str) -> list[tuple[int, str]]:
    """Return the breaches of one file, by line. Raises SyntaxError."""
    tree = ast.parse(text, file)
    return sorted([*direction(file, tree), *purity(file, tree), *length(file, tree, text.count("\n"))])


def python_files() -> list[str]:
    """Return what git knows: the *.py files, and scripts that say that they are Python."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True
    )
    return [file for file in listed.stdout.splitlines() if file.endswith(".py") or says_python(Path(file))]


def says_python(path: Path) -> bool:
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as file:
        return b"python" in file.readline() if file.read(2) == b"#!" else False


def main() -> int:
    files = python_files()
    found = [(file, *breach) for file in files for breach in breaches(file, Path(file).read_text())]
    absent = [pattern for pattern in PURE if not any(matches(file, [pattern]) for file in files)]
    found += [("scripts/lint/house.py", 1, f"PURE names {pattern}, which isn't there") for pattern in absent]
    for file, line, what in found:
        print(f"{file}:{line}: {what}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
