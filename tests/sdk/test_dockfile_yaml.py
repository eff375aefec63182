"""Reading the YAML: what is refused before any key is looked at, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from dockrion_sdk import DockfileError, load_dockfile
from dockrion_sdk.dockfile.read import MAX_BYTES, MAX_DEPTH, parse_document

from .conftest import AGENT, Load, Refused

DEEP = "io_schema: {input: {properties: " + "{a: " * MAX_DEPTH + "1" + "}" * MAX_DEPTH + "}}"

REFUSED = [
    pytest.param("", "Dockfile.yaml: is empty; `dockrion init NAME`", id="empty"),
    pytest.param("# nothing\n", "Dockfile.yaml: is empty", id="only a comment"),
    pytest.param("---\n", "Dockfile.yaml: is empty", id="only a start mark"),
    pytest.param("- a\n- b\n", "Dockfile.yaml: does not hold a mapping", id="a list"),
    pytest.param("agent", "Dockfile.yaml: does not hold a mapping", id="a word"),
    pytest.param("agent: {}\n---\nagent: {}\n", "Dockfile.yaml:2:1: a second document", id="two documents"),
    pytest.param("a: &x 1\nb: *x\n", "Dockfile.yaml:1:4: anchors and aliases", id="anchor"),
    pytest.param("a: &x [1, 1]\n", "Dockfile.yaml:1:4: anchors and aliases", id="anchor on a list"),
    pytest.param("agent:\n  name: *x\n", "Dockfile.yaml:2:9: anchors and aliases", id="alias"),
    pytest.param("? *x\n: 1\n", "Dockfile.yaml:1:3: anchors and aliases", id="alias as a key"),
    pytest.param("a: !!python/object:x.Y {}\n", "Dockfile.yaml:1:4: tags (!) are not read", id="tag"),
    pytest.param("a: !!str 1\n", "Dockfile.yaml:1:4: tags", id="standard tag"),
    pytest.param("? [a]\n: 1\n", "Dockfile.yaml:1:3: a key must be plain text", id="list as a key"),
    pytest.param("agent:\n\tname: x\n", "Dockfile.yaml:2:1: found character '\\t'", id="tab"),
    pytest.param("a: [1, 2\n", "Dockfile.yaml:2:1: expected ',' or ']'", id="open bracket"),
    pytest.param('a: "x\n', "Dockfile.yaml:2:1: found unexpected end of stream", id="open quote"),
    pytest.param("a: b: c\n", "Dockfile.yaml:1:5: mapping values are not allowed", id="two colons"),
    pytest.param("%YAML 1.1\n---\na: 1\n", "only YAML 1.2 is read", id="another YAML"),
    pytest.param(DEEP, f"is nested deeper than {MAX_DEPTH} levels", id="deep"),
    pytest.param("[" * 100_000, f"Dockfile.yaml:1:{MAX_DEPTH + 1}: is nested deeper", id="very deep"),
    pytest.param(b"\xff\xfea\x00", "Dockfile.yaml:1: is not UTF-8 text", id="UTF-16"),
    pytest.param(b"a: 1\nb: \xe9\n", "Dockfile.yaml:2: is not UTF-8 text", id="Latin-1"),
    pytest.param(b"a: 1\nb: \x00\n", "Dockfile.yaml:2: holds a character", id="NUL"),
    pytest.param('a: "\\ud800"\n', "Dockfile.yaml:1:4: holds half of a surrogate pair", id="surrogate"),
    pytest.param(b"# " + b"x" * MAX_BYTES, f"is larger than {MAX_BYTES} bytes", id="large"),
]


@pytest.mark.parametrize(("text", "told"), REFUSED)
def test_refused_with_its_place(refused: Refused, text: str | bytes, told: str) -> None:
    error = refused(text)
    assert told in str(error)
    assert len(error.problems) == 1


def test_tabs_and_unquoted_references_come_with_a_hint(refused: Refused) -> None:
    assert "indent with spaces" in str(refused("agent:\n\tname: x\n"))
    assert "put quotes around" in str(refused(AGENT + "expose: {port: ${PORT}}\n"))


def test_every_duplicate_key_is_named_with_both_lines(refused: Refused) -> None:
    error = refused("expose:\n  port: 1\n  host: a\n  port: 2\nagent: {}\nexpose: {port: 3}\n")
    assert str(error).splitlines() == [
        "Dockfile.yaml:4: expose.port: duplicate key, first given on line 2; keep one of them",
        "Dockfile.yaml:6: expose: duplicate key, first given on line 1; keep one of them",
    ]


def test_keys_that_differ_only_in_their_yaml_type_are_duplicates(refused: Refused) -> None:
    assert "duplicate key" in str(refused('io_schema: {input: {1: a, "1": b}}'))


def test_the_core_schema_of_yaml_1_2() -> None:
    text = """
    words: [yes, no, on, off, 2024-01-01, 12:30:45, 1_000, nan, ~x]
    quoted: ["1", 'true', "null", ""]
    numbers: [0, -7, +3, 0x1F, 0o17, 007, 1.5, .5, 1., 1e3, -2E-1, .inf, -.INF]
    constants: [true, True, TRUE, false, null, ~, Null]
    nothing:
    block: |
      12
    """
    assert parse_document(text).tree == {
        "words": ["yes", "no", "on", "off", "2024-01-01", "12:30:45", "1_000", "nan", "~x"],
        "quoted": ["1", "true", "null", ""],
        "numbers": [0, -7, 3, 31, 15, 7, 1.5, 0.5, 1.0, 1000.0, -0.2, float("inf"), float("-inf")],
        "constants": [True, True, True, False, None, None, None],
        "nothing": None,
        "block": "12\n",
    }


def test_a_byte_order_mark_is_passed_over(load_text: Load) -> None:
    assert load_text(b"\xef\xbb\xbf" + AGENT.encode()).agent.name == "my-agent"


def test_what_is_shown_stays_on_its_line_and_sends_no_control_characters(refused: Refused) -> None:
    text = str(refused('agent: {name: "a\\nb", "x\\e[31m\\nk": 1, handler: "m:f"}'))
    assert len(text.splitlines()) == 2
    assert "\x1b" not in text


def test_a_directory_stands_for_the_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "Dockfile.yaml").write_text(AGENT)
    by_directory = load_dockfile(tmp_path, env={})
    assert by_directory.file == tmp_path / "Dockfile.yaml"
    assert by_directory.directory == tmp_path
    assert load_dockfile(str(tmp_path / "Dockfile.yaml"), env={}) == by_directory


def test_the_working_directory_is_the_default(load_text: Load, tmp_path: Path) -> None:
    dockfile = load_text(AGENT)
    assert dockfile.file == tmp_path / "Dockfile.yaml"
    assert dockfile.directory.is_absolute()


@pytest.mark.parametrize("asked", ["", "Dockfile.yaml", "other.yml", "sub/Dockfile.yaml"])
def test_a_missing_file_tells_where_it_was_looked_for(tmp_path: Path, asked: str) -> None:
    with pytest.raises(DockfileError) as caught:
        load_dockfile(tmp_path / asked, env={})
    looked = tmp_path / (asked or "Dockfile.yaml")
    assert caught.value.file == str(looked)
    assert f"there is no such file: {looked}; `dockrion init NAME` makes one" in str(caught.value)
