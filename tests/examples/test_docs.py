"""The documentation holds the examples as they are."""

import importlib.util
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_every_example_stands_in_the_documentation_as_the_same_file() -> None:
    page = (REPOSITORY / "docs" / "reuse.md").read_text(encoding="utf-8")
    examples = sorted((REPOSITORY / "examples").glob("*.py"))
    assert len(examples) == 7
    for example in examples:
        code = example.read_text(encoding="utf-8")
        block = f"<!-- examples/{example.name} -->\n\n```python\n{code}```\n"
        assert block in page, f"docs/reuse.md differs from {example.name}: run python docs/include_examples.py"


def test_including_is_idempotent_and_follows_the_file() -> None:
    spec = importlib.util.spec_from_file_location("include_examples", REPOSITORY / "docs" / "include_examples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (REPOSITORY / "docs" / "reuse.md").read_text(encoding="utf-8")
    assert module.included(page) == page
    code = (REPOSITORY / "examples" / "timm_models.py").read_text(encoding="utf-8")
    assert module.included(page.replace(code, "stale\n")) == page
