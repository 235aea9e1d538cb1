"""The package in one folder, for tools that read sources without installing them."""

from pathlib import Path

__all__ = ["link_package"]


def link_package(repository: Path, folder: Path) -> None:
    """Make `folder/rltemp`, whose links are the rooms of the repository under the names that they are imported by."""
    package = folder / "rltemp"
    package.mkdir()
    for part in (*(repository / "rltemp").iterdir(), *(repository / "typings" / "rltemp").iterdir()):
        if part.name != "__pycache__":
            (package / part.name).symlink_to(part.resolve())
