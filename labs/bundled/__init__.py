"""The models and datasets that come with the project; `labs.bundled.make` writes all of them."""

from pathlib import Path

ROOT = Path(__file__).parent
DEFAULT_MODEL = "base"
DEFAULT_DATASET = "tickets"


def models() -> dict[str, Path]:
    """Folder of each bundled model, by name."""
    return _folders("models", "config.json")


def datasets() -> dict[str, Path]:
    """Folder of each bundled dataset, by name."""
    return _folders("datasets", "dataset.json")


def _folders(kind: str, landmark: str) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in sorted((ROOT / kind).glob(f"*/{landmark}"))}
