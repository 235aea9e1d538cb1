"""The README's two commands are there; tests/docs/test_snippets.py runs its code."""

from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_two_commands() -> None:
    assert "pip install uv && uv run rltemp demo" in README
    assert "uv run pytest" in README
