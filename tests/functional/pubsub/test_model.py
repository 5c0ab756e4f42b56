"""Whatever happens to hub, writers and readers: at the end every reader has the writer's exact table."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.functional.pubsub.processes import Actor, Hub
from tests.functional.pubsub.test_restarts import sees

KEYS = st.sampled_from(["a", "b", "c", "d"])
BIG = "3" * 100_000  # more than one message holds of the others
TEXTS = st.sampled_from(["", "1", "2", "big"])
TABLES = st.dictionaries(KEYS, TEXTS)
pytestmark = pytest.mark.timeout(900)  # seconds; the usual number of examples takes twenty
EXAMPLES = int(os.environ.get("NSVISOR_EXAMPLES", "15"))  # of 20 steps; more of them for a night


def widen(text: str) -> str:
    """Make the one big text, which would be too long for Hypothesis's messages."""
    return BIG if text == "big" else text


class Bus(RuleBasedStateMachine):
    """Real processes, killed with SIGKILL; the model is a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="bus")
        self.hub = Hub(Path(self.folder.name))
        self.table: dict[str, str] = {}
        self.writer: Actor | None = None
        self.readers: list[Actor] = []
        self.stopped: set[Actor] = set()
        self.hub_runs = True

    @initialize(table=TABLES)
    def begin(self, table: dict[str, str]) -> None:
        self.write_anew(table)
        self.read_anew()

    @precondition(lambda self: self.writer is None)
    @rule(table=TABLES)
    def write_anew(self, table: dict[str, str]) -> None:
        table = {key: widen(text) for key, text in table.items()}
        self.writer = Actor(self.hub.run_dir, "writer")
        self.writer.tell("publish", initial=table)
        if self.hub_runs:
            self.writer.answer()
        else:
            self.start_hub()
            self.writer.answer()
        self.table = table

    @precondition(lambda self: self.writer is not None)
    @rule(key=KEYS, text=TEXTS)
    def put(self, key: str, text: str) -> None:
        assert self.writer is not None
        self.writer.ask("set", key=key, text=widen(text))
        self.table[key] = widen(text)

    @precondition(lambda self: self.writer is not None)
    @rule(key=KEYS)
    def withdraw(self, key: str) -> None:
        assert self.writer is not None
        self.writer.ask("del", key=key)
        self.table.pop(key, None)

    @precondition(lambda self: self.writer is not None)
    @rule(table=TABLES)
    def replace(self, table: dict[str, str]) -> None:
        assert self.writer is not None
        self.table = {key: widen(text) for key, text in table.items()}
        self.writer.ask("replace", values=self.table)

    @precondition(lambda self: self.writer is not None)
    @rule()
    def kill_writer(self) -> None:
        assert self.writer is not None
        if not self.hub_runs:
            self.start_hub()
        self.writer.ask("flush")  # what was not acknowledged may be lost with its writer
        self.writer.kill()
        self.writer = None

    @precondition(lambda self: self.hub_runs)
    @rule()
    def kill_hub(self) -> None:
        self.hub.kill()
        self.hub_runs = False

    @precondition(lambda self: not self.hub_runs)
    @rule()
    def start_hub(self) -> None:
        self.hub.start()
        self.hub_runs = True

    @precondition(lambda self: len(self.readers) < 3)
    @rule()
    def read_anew(self) -> None:
        if not self.hub_runs:
            self.start_hub()
        reader = Actor(self.hub.run_dir, "reader")
        reader.ask("subscribe", agent="writer")
        self.readers.append(reader)

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def kill_reader(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from(self.readers))
        self.readers.remove(reader)
        self.stopped.discard(reader)
        reader.kill()

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def stop_or_continue_reader(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from(self.readers))
        reader.process.send_signal(signal.SIGCONT if reader in self.stopped else signal.SIGSTOP)
        self.stopped ^= {reader}

    @rule()
    def settle(self) -> None:
        if not self.hub_runs:
            self.start_hub()
        for reader in self.readers:
            reader.process.send_signal(signal.SIGCONT)
            sees(reader, self.table)
        self.stopped.clear()

    @invariant()
    def the_hub_lives_when_it_should(self) -> None:
        assert not self.hub_runs or (self.hub.process is not None and self.hub.process.poll() is None)

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            for actor in (*self.readers, *([self.writer] if self.writer else [])):
                actor.kill()
            self.hub.close()
            self.folder.cleanup()


TestBus = Bus.TestCase
TestBus.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=20,
    deadline=None,
    derandomize="NSVISOR_EXAMPLES" not in os.environ,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # shrinking would start thousands of processes
    suppress_health_check=list(HealthCheck),
)
