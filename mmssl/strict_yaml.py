"""YAML with nothing to trip over: 1e-3 is a number, `no` is text, no key counts twice, every key knows its line.

Scalars follow YAML 1.2 (PyYAML reads 1.1), but only `true` and `false` are booleans. Tags, anchors and aliases are
refused, so a file can neither name a Python object nor grow while it is read.
"""

import re
from typing import Any

import yaml
from yaml.reader import ReaderError

MAX_DEPTH = 20
PREFIX = "tag:yaml.org,2002:"
FLOAT = re.compile(r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$")
SCALARS = {
    PREFIX + "null": lambda text: None,
    PREFIX + "bool": lambda text: text == "true",
    PREFIX + "int": int,
    PREFIX + "float": lambda text: float(text.replace(".inf", "inf").replace(".nan", "nan")),
    PREFIX + "str": str,
}

Keys = tuple[str | int, ...]  # the way to a value: keys, and indices of lists


class StrictLoader(yaml.SafeLoader):
    """PyYAML's parser with YAML 1.2 scalars, and without tags, anchors, aliases and bottomless nesting."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012  (PyYAML's own name for the class's table)
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """PyYAML's hook for every node; raises yaml.MarkedYAMLError."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise fault(
                "anchors (&) and aliases (*) are not allowed; text that starts so needs quotes", event.start_mark
            )
        if getattr(event, "tag", None) is not None:
            raise fault("tags (!) are not allowed; text that starts so needs quotes", event.start_mark)
        if self.depth == MAX_DEPTH:
            raise fault(f"nested deeper than {MAX_DEPTH} levels", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class StrictDumper(yaml.SafeDumper):
    """PyYAML's writer that quotes whatever either version of YAML would not read back as text."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """PyYAML's hook for texts; only in double quotes do all line breaks of Unicode survive."""
        return self.represent_scalar(PREFIX + "str", data, style=None if data.isprintable() else '"')


StrictDumper.add_representer(str, StrictDumper.represent_str)
for side in StrictLoader, StrictDumper:  # a pattern, and the characters that its matches begin with
    side.add_implicit_resolver(PREFIX + "null", re.compile(r"^(?:~|null|)$"), [*"~n", ""])
    side.add_implicit_resolver(PREFIX + "bool", re.compile(r"^(?:true|false)$"), [*"tf"])
    side.add_implicit_resolver(PREFIX + "int", re.compile(r"^[-+]?[0-9]{1,300}$"), [*"-+0123456789"])
    side.add_implicit_resolver(PREFIX + "float", FLOAT, [*"-+.0123456789"])


def fault(problem: str, mark: yaml.Mark | None) -> yaml.MarkedYAMLError:
    """The error of a place in the text."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def problem(error: yaml.MarkedYAMLError) -> str:
    """What an error of `parse` says, without the place."""
    return ", ".join(part for part in (error.context, error.problem) if part)


def parse(text: str) -> tuple[Any, dict[Keys, int]]:
    """The value of a YAML text, and the line (from 1) of every key and list item; raises yaml.MarkedYAMLError only."""
    try:
        loader = StrictLoader(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position)
        raise fault(
            f"character U+{ord(text[error.position]):04X} is not allowed", yaml.Mark("", 0, line, 0, "", 0)
        ) from None
    try:
        node = loader.get_single_node()
    except (ValueError, OverflowError):  # PyYAML passes "\UFFFFFFFF" to chr
        raise fault("an escape that is no character", loader.get_mark()) from None
    finally:
        loader.dispose()
    lines: dict[Keys, int] = {}
    return (None if node is None else plain(node, (), lines)), lines


def plain(node: yaml.Node, keys: Keys, lines: dict[Keys, int]) -> Any:
    """The value of a node; `lines` gains the lines of the keys below `keys`."""
    if isinstance(node, yaml.ScalarNode):
        return scalar(node)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[*keys, index] = item.start_mark.line + 1
        return [plain(item, (*keys, index), lines) for index, item in enumerate(node.value)]
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = name_of(key_node)
        if key in values:
            first = lines[*keys, key]
            raise fault(f"key '{key}' is given twice, first in line {first}; expected once", key_node.start_mark)
        lines[*keys, key] = key_node.start_mark.line + 1
        values[key] = plain(value_node, (*keys, key), lines)
    return values


def scalar(node: yaml.ScalarNode) -> Any:
    """The value of a scalar, typed as YAML 1.2 does."""
    value = SCALARS[node.tag](node.value)
    if isinstance(value, str) and any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in value):
        raise fault("text with a NUL character or half of a surrogate pair", node.start_mark)
    return value


def name_of(node: yaml.Node) -> str:
    """The text of a key."""
    key = scalar(node) if isinstance(node, yaml.ScalarNode) else None
    if not isinstance(key, str) or not key.isprintable():
        came = repr(node.value) if isinstance(node, yaml.ScalarNode) else "a list or a section"
        raise fault(f"got {came} as a key, expected a name", node.start_mark)
    if "." in key:
        raise fault(f"key '{key}' has a dot; in a file, expected keys within keys", node.start_mark)
    return key


def dump(value: Any) -> str:
    """YAML text that `parse` reads back as the same value."""
    return yaml.dump(value, Dumper=StrictDumper, sort_keys=False, allow_unicode=True)
