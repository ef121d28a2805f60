"""The line of a file that a run named, with its neighbours."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.datasets.lines import AROUND, lines_around
from app.models import Dataset


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(0, 8), number=st.integers(1, 10))
def test_a_line_comes_with_its_neighbours(tmp_path: Path, count: int, number: int) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f"row {at}\n" for at in range(1, count + 1)))
    found = lines_around(Dataset(path=str(file)), number)
    if number > count:
        assert list(found) == []
        return
    assert [line.text for line in found if line.is_named] == [f"row {number}"]
    first, last = max(1, number - AROUND), min(count, number + AROUND)
    assert [line.number for line in found] == list(range(first, last + 1))


def test_a_folder_is_looked_through_by_file_name(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text(f"{name} row\n")
    dataset = Dataset(path=str(tmp_path))
    assert [line.text for line in lines_around(dataset, 1, "test.jsonl")] == ["test row"]
    assert [line.text for line in lines_around(dataset, 1, "../../secret")] == ["train row"]
    assert list(lines_around(dataset, None)) == []
    assert list(lines_around(Dataset(path=str(tmp_path / "gone")), 1)) == []
