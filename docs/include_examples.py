"""Put the examples into the documentation as they are: `python docs/include_examples.py`.

A page names an example by a line `<!-- examples/NAME.py -->`; the code block after it is the file.
"""

import re
from pathlib import Path

DOCS = Path(__file__).parent
BLOCK = re.compile(r"(<!-- (examples/\w+\.py) -->\n+```python\n)(.*?)(^```$)", re.DOTALL | re.MULTILINE)


def included(page: str) -> str:
    """The page with every example as its file is now."""
    return BLOCK.sub(lambda block: block[1] + (DOCS.parent / block[2]).read_text(encoding="utf-8") + block[4], page)


def main() -> None:
    """Rewrite all pages."""
    for path in DOCS.glob("*.md"):
        path.write_text(included(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
