"""Folders of the repository that the wheel carries: sql, migrations, examples."""

from pathlib import Path


def shipped_folder(name: str) -> Path:
    """Return a folder: the wheel has it inside the package, a checkout beside it."""
    packaged = Path(__file__).with_name(f"_{name}")
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / name
