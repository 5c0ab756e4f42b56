"""Instances are taken out of files, and files made of one, with the words and comments of the user."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pubsub.config import read_files
from pubsub.topics import NetworkInstanceConfig
from supervisor.cli import edit

LAB = """\
# my lab
instances:
  # the red one
  red:
    subnet: 10.1.0.0/24
    apps:
      web: {address: 10.1.0.80}   # a web server

  # the blue one
  blue:
    mtu: 1400

settings: {}
# the end
"""


def config(text: str, name: str) -> NetworkInstanceConfig:
    return read_files({"a": text.encode()}).instances[name].config


def own_file(text: str, name: str) -> str:
    return edit.file_of(name, config(text, name), text.encode(), edit.blocks(text.encode()).get(name))


def test_a_file_of_one_instance_keeps_its_words_and_comments() -> None:
    wanted = (
        "instances:\n  # the red one\n  red:\n    subnet: 10.1.0.0/24\n"
        "    apps:\n      web: {address: 10.1.0.80}   # a web server\n"
    )
    assert own_file(LAB, "red") == wanted
    assert own_file(LAB, "blue") == "instances:\n  # the blue one\n  blue:\n    mtu: 1400\n"


def test_deeper_indentation_is_evened() -> None:
    text = "instances:\n     red:\n       mtu: 1400\n"
    assert own_file(text, "red") == "instances:\n  red:\n    mtu: 1400\n"


@pytest.mark.parametrize(
    "text",
    [
        "{instances: {red: {mtu: 1400}, blue: {}}}",
        '{"instances": {"red": {"mtu": 1400}}}',
        "x-small: &small {mtu: 1400}\ninstances:\n  red: *small\n",
        "x-small: &small {mtu: 1400}\ninstances:\n  red:\n    <<: *small\n",
    ],
)
def test_what_has_no_lines_of_its_own_is_written_anew(text: str) -> None:
    assert own_file(text, "red") == "instances:\n  red:\n    mtu: 1400\n"


def test_removal_keeps_all_the_rest() -> None:
    without_red = edit.without(LAB.encode(), "red")
    assert without_red == (
        "# my lab\ninstances:\n\n  # the blue one\n  blue:\n    mtu: 1400\n\nsettings: {}\n# the end\n"
    )
    without_blue = edit.without(LAB.encode(), "blue")
    assert without_blue is not None
    assert "# the red one" in without_blue
    assert "# the end" in without_blue
    assert "blue" not in without_blue


def test_removal_of_the_last_one_leaves_no_file_unless_there_is_more() -> None:
    assert edit.without(b"# only me\ninstances:\n  red: {}\n", "red") is None
    assert edit.without(b"instances: {red: {}}\n", "red") is None
    rest = edit.without(b"instances:\n  red: {}\nsettings: {config_from: [confd]}\n", "red")
    assert rest is not None
    assert "config_from" in rest


def test_removal_from_flow_style_keeps_the_others_as_they_are() -> None:
    text = b"instances: {red: {mtu: 1400}, blue: {apps: {a: {ports: [8080:22]}}}}\n"
    rest = edit.without(text, "red")
    assert rest is not None
    assert config(rest, "blue") == config(text.decode(), "blue")
    assert edit.names(rest.encode()) == {"blue"}


def test_removal_of_what_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        edit.without(b"instances: {red: {}}", "blue")


names = st.sampled_from(["red", "blue", "far", "a", "b"])
comment = st.sampled_from(["", "# one\n", "  # two\n", "\n", "\n\n    # three\n"])
body = st.sampled_from(
    [" {}\n", "\n    mtu: 1400\n", "\n", "\n    # inside\n    dns:\n      domain: a.b\n", " {mtu: 1500} # c\n"]
)


@given(st.lists(st.tuples(comment, names, body), min_size=1, max_size=5, unique_by=lambda one: one[1]), st.data())
def test_any_removal_leaves_just_the_others(parts: list[tuple[str, str, str]], data: st.DataObject) -> None:
    text = "instances:\n" + "".join(f"{above}  {name}:{rest}" for above, name, rest in parts)
    before = {name: defined.config for name, defined in read_files({"a": text.encode()}).instances.items()}
    gone = data.draw(st.sampled_from([name for _, name, _ in parts]))
    rest = edit.without(text.encode(), gone)
    after = {} if rest is None else read_files({"a": rest.encode()}).instances
    assert {name: defined.config for name, defined in after.items()} == {n: c for n, c in before.items() if n != gone}
    assert config(own_file(text, gone), gone) == before[gone]
