# ruff: noqa: ASYNC110, ASYNC221, ASYNC222, ASYNC240  # nothing else runs in these loops
"""A manager is born inside its own namespaces, with a manager's rights, and lives on without its maker."""

import asyncio
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from supervisor import birth
from supervisor.rights import MANAGER
from supervisor.spawn import INHERITED, MALLOC, Spawner, SpawnerGone
from tests.functional.spawner.inside import RUN_DIR, STATE_DIR, UIDS, bear, inside, output, spawner, uid_base
from tests.hosts import Host, wait_until


def namespace_of(pid: int, task: str = "", kind: str = "net") -> int:
    return Path(f"/proc/{pid}/{task}ns/{kind}").stat().st_ino


def tasks_of(pid: int) -> list[str]:
    return [task.name for task in Path(f"/proc/{pid}/task").iterdir()]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def line(reader: int) -> bytes:
    return await asyncio.to_thread(os.read, reader, 4096)


async def look(host_names: tuple[str, ...]) -> dict[str, Any]:
    async with spawner(*host_names) as running:
        await bear(running, "blue", 1, "idle")
        _, reader = await bear(running, "red", 0, "look")
        found: dict[str, Any] = json.loads(await output(reader))
        return found


def test_a_manager_finds_its_own_instance_and_nothing_else(host: Host) -> None:
    host.put_file("/run/secret.sock", "")
    found = inside(host, look, ("red", "blue"))
    assert found["uid_map"] == ["0", str(uid_base(0)), str(UIDS)]
    mask = sum(1 << capability for capability in MANAGER)
    assert found["caps"] == {"CapInh": 0, "CapPrm": mask, "CapEff": mask, "CapBnd": mask, "CapAmb": 0}
    assert found["no_new_privs"] == "1"
    assert found["fds"] == [0, 1, 2, 3]  # 3: the folder being listed
    assert set(found["environment"]) <= {"LC_CTYPE", *INHERITED, *MALLOC}
    assert found["session"]
    assert found["limits"] == ["0", "0", "0"]
    assert found["run"] == ["nsvisor"]
    assert found["home"] == []
    assert found["run_dir"] == ["bus", "instances"]
    assert found["state_dir"] == ["instances"]
    assert found["instances"] == found["state_instances"] == ["red"]
    assert found["owners"] == [0, 0]
    assert found["links"] == ["lo"]
    assert found["writable"] == ["/tmp"]
    assert found["own"] == [f"{RUN_DIR}/instances/red", f"{STATE_DIR}/instances/red"]
    assert found["pids"] == 1
    assert found["tun"] == 0
    assert found["environ_readable"]


async def births() -> None:
    async with spawner("red", "blue") as running:
        for number, name in enumerate(("red", "blue")):
            pid, reader = await bear(running, name, number, "threads")
            assert await line(reader) == b"idle\n"
            tasks = tasks_of(pid)
            assert len(tasks) == 2
            own = birth.namespace_inode(name)
            assert {namespace_of(pid, f"task/{task}/") for task in tasks} == {own}
            assert namespace_of(pid) not in (namespace_of(os.getpid()), namespace_of(running.pid))
            assert parent_of(pid) == os.getpid()
            assert Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") == f"nsmanager {name}".encode()
            listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=True).stdout
            assert listed.split() == [str(pid)]
        for task in tasks_of(os.getpid()):
            assert namespace_of(os.getpid(), f"task/{task}/") == namespace_of(running.pid)


def test_every_thread_of_a_manager_is_in_its_namespace_and_its_parent_is_the_starter(host: Host) -> None:
    inside(host, births)


async def again() -> None:
    async with spawner("red") as running:
        inode = birth.namespace_inode("red")
        first, reader = await bear(running, "red", 0, "idle")
        os.kill(first, signal.SIGKILL)
        assert os.waitpid(first, 0) == (first, signal.SIGKILL)
        assert await output(reader) in ("", "idle\n")
        second, reader = await bear(running, "red", 0, "idle")
        assert await line(reader) == b"idle\n"
        assert namespace_of(second) == inode
        assert namespace_of(second, kind="user") != namespace_of(os.getpid(), kind="user")


def test_a_killed_manager_is_born_again_into_the_same_namespace(host: Host) -> None:
    inside(host, again)


async def kill_the_spawner() -> None:
    async with spawner("red") as running:
        pid, reader = await bear(running, "red", 0, "idle")
        assert await line(reader) == b"idle\n"
        os.kill(running.pid, signal.SIGKILL)
        with pytest.raises(SpawnerGone):
            await running.make_namespace("blue", uid_base(1), UIDS)
        assert parent_of(pid) == os.getpid()
        os.kill(pid, 0)
    async with spawner() as next_one:
        second, reader = await bear(next_one, "red", 0, "idle")
        assert await line(reader) == b"idle\n"
        assert namespace_of(second) == namespace_of(pid)


def test_managers_outlive_the_spawner_and_another_one_carries_on(host: Host) -> None:
    inside(host, kill_the_spawner)


def managers_of_red() -> set[int]:
    listed = subprocess.run(["ip", "netns", "pids", "red"], capture_output=True, text=True, check=True).stdout
    return set(map(int, listed.split()))


async def unheard_birth(running: Spawner) -> asyncio.Task[tuple[int, int]]:
    """Stop the spawner between the birth of a manager and the word of it; return who waits for that word."""
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    while True:
        birth = asyncio.create_task(bear(running, "red", 0, "idle"))
        while not children.read_text() and not birth.done():
            await asyncio.sleep(0)
        os.kill(running.pid, signal.SIGSTOP)
        await asyncio.to_thread(wait_until, managers_of_red)
        done, _ = await asyncio.wait([birth], timeout=0.1)
        if not done:
            return birth
        # The spawner was faster than we: once more.
        os.kill(running.pid, signal.SIGCONT)
        pid, _ = birth.result()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


async def kill_the_spawner_before_it_can_tell() -> None:
    async with spawner("red") as running:
        first, _ = await bear(running, "red", 0, "leave")  # all is prepared: the next child is the next birth
        os.waitpid(first, 0)
        unheard = await unheard_birth(running)
        os.kill(running.pid, signal.SIGKILL)
        with pytest.raises(SpawnerGone):
            await unheard
        await asyncio.to_thread(wait_until, lambda: not managers_of_red())


def test_no_manager_lives_that_nobody_knows(host: Host) -> None:
    inside(host, kill_the_spawner_before_it_can_tell)


async def end_of_the_supervisor() -> int:
    async with spawner() as running:
        return running.pid


def test_the_spawner_ends_with_the_supervisors_end_of_the_socket(host: Host) -> None:
    pid = inside(host, end_of_the_supervisor)
    assert not Path(f"/proc/{pid}").exists()


async def failures() -> None:
    async with spawner("red") as running:
        with pytest.raises(FileExistsError, match="/run/netns/red"):
            await running.make_namespace("red", uid_base(0), UIDS)
        with pytest.raises(FileNotFoundError, match="/run/netns/nope"):
            await bear(running, "nope", 0, "idle")
        with pytest.raises(Exception, match="absent"):
            await bear(running, "red", 0, "absent")
        with pytest.raises(Exception, match=str(uid_base(5))):
            await bear(running, "red", 5, "idle")
        subprocess.run(["ip", "netns", "add", "foreign"], check=True)
        with pytest.raises(Exception, match="user namespace of its own"):
            await bear(running, "foreign", 0, "idle")
        Path("/run/netns/hollow").touch()
        assert birth.namespace_inode("hollow") is None
        with pytest.raises(Exception, match="holds no namespace"):
            await bear(running, "hollow", 0, "idle")
        pid, reader = await bear(running, "red", 0, "fail")
        assert "ValueError: red failed on purpose" in await output(reader)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
        pid, reader = await bear(running, "red", 0, "leave")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_what_fails_is_told_in_words_and_the_spawner_goes_on(host: Host) -> None:
    inside(host, failures)


async def addresses_of_a_link() -> str:
    async with spawner("red"):
        for command in (
            "link add host0 type veth peer name up0 netns red",
            "-n red link set up0 up",
            "link set host0 up",
        ):
            subprocess.run(["ip", *command.split()], check=True)
        wait_until(lambda: "link" in addresses(()), what="the other end's own address")
        return addresses(("-n", "red"))


def addresses(where: tuple[str, ...]) -> str:
    """Return the IPv6 addresses of the host, or of a namespace."""
    return subprocess.run(["ip", *where, "-6", "addr"], capture_output=True, text=True, check=True).stdout


def test_no_link_has_an_address_of_ipv6_before_its_manager_is_born(host: Host) -> None:
    assert inside(host, addresses_of_a_link) == ""


async def delete() -> None:
    async with spawner("red"):
        assert birth.namespace_inode("red")
        listed = subprocess.run(["ip", "netns", "exec", "red", "ip", "-br", "link"], capture_output=True, check=True)
        assert listed.stdout.split()[0] == b"lo"
        birth.delete_namespace("red")
        birth.delete_namespace("red")
        assert birth.namespace_inode("red") is None
        assert not Path("/run/netns/red").exists()


def test_a_deleted_namespace_leaves_no_pin(host: Host) -> None:
    inside(host, delete)


async def odd_folders() -> list[str]:
    """The folders lie in one another, and under /tmp and /run."""
    found = []
    async with spawner("red") as running:
        for run_dir, state_dir in (("/run/a/r", "/run/a/r/state"), ("/run/b/s/run", "/run/b/s"), ("/run/c", "/run/c")):
            Path(run_dir).mkdir(parents=True)
            reader, writer = os.pipe()
            entry = "tests.functional.spawner.entries:look"
            await running.spawn_manager("red", uid_base(0), Path(run_dir), Path(state_dir), writer, entry=entry)
            os.close(writer)
            facts = json.loads(await output(reader))
            found.append(f"{facts['instances']} {facts['state_instances']} {facts['writable']} {len(facts['own'])}")
    return found


def test_run_and_state_folder_may_lie_anywhere(host: Host) -> None:
    assert inside(host, odd_folders) == ["['red'] ['red'] ['/tmp'] 2"] * 3


async def measure(count: int) -> tuple[float, float, float]:
    names = [f"n{number}" for number in range(count)]
    async with spawner() as running:
        start = time.perf_counter()
        await asyncio.gather(
            *(running.make_namespace(name, uid_base(number), UIDS) for number, name in enumerate(names))
        )
        made = time.perf_counter()
        pids = await asyncio.gather(*(bear(running, name, number, "idle") for number, name in enumerate(names)))
        born = time.perf_counter()
        for _, reader in pids:
            assert await line(reader) == b"idle\n"
        pss = [
            int(text.split()[1])
            for pid, _ in pids
            for text in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            if text.startswith("Pss:")
        ]
        return (made - start) / count * 1e3, (born - made) / count * 1e3, sum(pss) / len(pss)


def test_time_and_memory_of_64_births(host: Host) -> None:
    namespace, newborn, pss = inside(host, measure, 64)
    print(f"64 births: namespace {namespace:.1f} ms, manager {newborn:.1f} ms, idle PSS {pss:.0f} KiB each")
    assert pss > 0
