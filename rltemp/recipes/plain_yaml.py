"""YAML from untrusted sources: plain values alone, each of which means what it looks like.

A subset of YAML 1.1. Aliases can expand a kilobyte to more than the memory holds, tags ask for other types, and readers
differ on a repeated key: all are refused. So are large or deeply nested files, and text that YAML 1.1 takes for another
number: 1:30 (90), 010 (8). Dates and merge keys (<<) are text.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from rltemp.errors import InputError

__all__ = ["load_plain"]

_MOST_NODES, _DEEPEST = 10_000, 20
_TAG = "tag:yaml.org,2002:"
_RESOLVED = {f"{_TAG}{kind}" for kind in ("null", "bool", "int", "float")}
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,39}|[0-9]{0,40}\.[0-9]{0,40}([eE][-+][0-9]{1,3})?)")


def load_plain(text: str, name: str) -> Any:
    """Parse plain YAML to None, a bool, int, finite float, or str, or to lists of these or dicts of these by str.

    Args:
        text: the YAML.
        name: what errors call it.

    Raises:
        InputError: for anything but plain YAML.
    """
    try:
        loader = _PlainLoader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{name} must be plain YAML: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} (line {mark.line + 1}, column {mark.column + 1})"
    return " ".join(str(error).split())


class _PlainLoader(yaml.SafeLoader):
    """A loader that counts nodes while it parses, and so refuses too large a file before it is built."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise ConstructorError(None, None, "aliases and anchors are not allowed", event.start_mark)
        if event.tag is not None:
            raise ConstructorError(None, None, "tags are not allowed", event.start_mark)
        self._nodes += 1
        self._depth += 1
        if self._nodes > _MOST_NODES or self._depth > _DEEPEST:
            raise ConstructorError(
                None, None, f"at most {_MOST_NODES} values and {_DEEPEST} levels are allowed", event.start_mark
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = set()
        for key, _ in node.value:
            if key.tag != f"{_TAG}str":
                raise ConstructorError(None, None, "keys must be text", key.start_mark)
            if key.value in names:
                raise ConstructorError(None, None, "a key stands twice", key.start_mark)
            names.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        digits = node.value.replace("_", "")
        if not _DECIMAL.fullmatch(digits) or not math.isfinite(float(digits)):
            message = "numbers must be decimal, finite and short, and text that looks like one needs quotes"
            raise ConstructorError(None, None, message, node.start_mark)
        return int(digits) if node.tag == f"{_TAG}int" else float(digits)


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _RESOLVED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for kind in ("int", "float"):
    _PlainLoader.add_constructor(_TAG + kind, _PlainLoader.construct_number)
