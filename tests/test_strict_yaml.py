"""Claims about the YAML that configs are written in; PyYAML's own loader shows what each rule prevents."""

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmssl.strict_yaml import dump, parse, problem

SIGNS = [
    *"ab:-[]{}#&*!|>'\"%@`,?~ \n\t\\.0123eE+x_<=",
    "\\U",
    "\\x",
    "---",
    "...",
    "<<: ",
    "? ",
    "- ",
    "é",
    "\ufeff",
    "\x85",
    "\0",
]


def value(text: str) -> object:
    return parse(text)[0]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("1e-3", 0.001), ("1E5", 1e5), ("1.e3", 1000.0), (".5", 0.5), ("-2.5e+1", -25.0), ("1.0", 1.0),
        (".inf", float("inf")), ("12", 12), ("-3", -3), ("+3", 3), ("010", 10), ("0", 0), ("true", True),
        ("false", False), ("~", None), ("null", None), ("", None),
    ],
)  # fmt: skip
def test_scalars_have_the_type_that_yaml_1_2_gives_them(text, expected):
    assert value(text) == expected
    assert type(value(text)) is type(expected)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "yes",
        "on",
        "off",
        "No",
        "True",
        "1_000",
        "0x1f",
        "12:30:45",
        "2024-01-01",
        "1e",
        "e3",
        "1.2.3",
        ".",
        "<<",
        "=",
    ],
)
def test_all_else_is_text(text):
    assert value(text) == text


def test_plain_pyyaml_would_mistake_these():
    assert yaml.safe_load("1e-3") == "1e-3"
    assert yaml.safe_load("no") is False
    assert yaml.safe_load("12:30:45") == 45045
    assert yaml.safe_load("a: 1\na: 2") == {"a": 2}


def test_quoted_scalars_are_text():
    assert value("['1e-3', \"true\", '5', '']") == ["1e-3", "true", "5", ""]


def test_every_key_and_item_knows_its_line():
    text = "a: 1\n\n# comment\nb:\n  c: 2\n  d:\n  - x\n  - {e: 3,\n     f: 4}\n"
    loaded, lines = parse(text)
    assert loaded == {"a": 1, "b": {"c": 2, "d": ["x", {"e": 3, "f": 4}]}}
    assert lines == {
        ("a",): 1, ("b",): 4, ("b", "c"): 5, ("b", "d"): 6, ("b", "d", 0): 7,
        ("b", "d", 1): 8, ("b", "d", 1, "e"): 8, ("b", "d", 1, "f"): 9,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text, line, said",
    [
        ("a: 1\nb: 2\na: 3", 3, "key 'a' is given twice, first in line 1"),
        ("x:\n  a: 1\n  a: 1", 3, "key 'a' is given twice, first in line 2"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]", 2, "tags"),
        ("a: !!str 5", 1, "tags"),
        ("a: !include x", 1, "tags"),
        ("a: &x 1", 1, "anchors"),
        ("a: 1\nb: *x", 2, "anchors"),
        ("a: 1\n2: b", 2, "got '2' as a key"),
        ("true: b", 1, "got 'true' as a key"),
        ("? [a]\n: b", 1, "got a list or a section as a key"),
        ("train.steps: 3", 1, "has a dot"),
        ("a: 1\n---\nb: 2", 2, "single document"),
        ("a: 1\nb: [", 2, "expected the node content"),
        ("a: 1\n b: 2", 2, "mapping values are not allowed"),
        ("a: 1\nb: \0", 2, "U+0000"),
        ('a: "\\ud800"', 1, "surrogate"),
        ('a: "\\0"', 1, "NUL"),
        ('a: "\\UFFFFFFFF"', 1, "no character"),
        ("a: " + "[" * 1000, 1, "deeper than 20 levels"),
    ],
)
def test_a_trap_is_refused_with_its_line(text, line, said):
    with pytest.raises(yaml.MarkedYAMLError) as caught:
        parse(text)
    assert said in problem(caught.value)
    assert caught.value.problem_mark is not None
    assert caught.value.problem_mark.line + 1 == line


def test_an_alias_bomb_is_refused_before_it_grows():
    levels = 9
    bomb = "a0: &a0 [x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, levels)
    )
    with pytest.raises(yaml.MarkedYAMLError, match="anchors"):
        parse(bomb)
    assert len(yaml.safe_load(bomb)[f"a{levels - 1}"]) == 9  # plain PyYAML lets it in: 9 ** 8 * 4 texts if written out


@settings(database=None, deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(SIGNS), max_size=14).map("".join))
@example('"\\U99999999"')
@example("9" * 5000)
def test_no_text_raises_anything_but_a_yaml_error_with_a_place(text):
    error = None
    try:
        parse(text)
    except yaml.MarkedYAMLError as caught:
        error = caught
    assert error is None or (error.problem_mark is not None and problem(error))


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
trees = st.recursive(
    texts | st.booleans() | st.none() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), inner),
    max_leaves=8,
)


@settings(database=None, deadline=None, max_examples=200)
@given(trees)
@example(
    [
        "1e-3",
        "010",
        "08",
        "no",
        "1_000",
        "1E5",
        "null",
        "",
        " a ",
        "a: b",
        "=",
        "x\ny",
        "12:30",
        "1.e3",
        "\x85",
        "\ufeff",
    ]
)
@example([1e-3, 1e22, 5e-324, 1e300, -0.1])
def test_what_is_dumped_is_read_back(tree):
    assert value(dump(tree)) == tree


def test_plain_pyyaml_does_not_quote_what_yaml_1_2_calls_a_number():
    assert value(yaml.safe_dump("1e-3")) == 0.001
    assert value(dump("1e-3")) == "1e-3"
