"""What the documentation shows of an example stands in its file."""

import re
import textwrap
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "reuse.md").read_text(encoding="utf-8")
SHOWN = re.compile(
    r"^From \[examples/(\w+)\.py\]\(\.\./examples/\1\.py\):\n\n"
    r"```python\n(.*?)^```\n\n<!-- include examples/\1\.py -->$",
    re.DOTALL | re.MULTILINE,
)


def test_every_example_is_shown_linked_and_included_once() -> None:
    examples = [path.stem for path in (REPOSITORY / "examples").glob("*.py")]
    assert sorted(name for name, _ in SHOWN.findall(PAGE)) == sorted(examples)


def test_the_lines_shown_are_lines_of_the_file_in_one_piece() -> None:
    for name, excerpt in SHOWN.findall(PAGE):
        code = (REPOSITORY / "examples" / f"{name}.py").read_text(encoding="utf-8")
        indented = (textwrap.indent(excerpt, " " * depth) for depth in (0, 4, 8))
        assert any(f"\n{text}" in code for text in indented), f"docs/reuse.md shows lines that {name}.py has not"
