"""What a reader of a scoreboard chose to see; all of it stands in the address."""

from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel, ConfigDict

DEFAULT_SORT = "quality"


class Choice(BaseModel):
    """The column to sort by, and what the picture shows. Unknown names count as none."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sort: str = DEFAULT_SORT
    reverse: str = ""
    cost: str = ""
    quality: str = ""

    @property
    def is_reversed(self) -> bool:
        """Whether the worst stand first."""
        return self.reverse == "1"

    def address(self, group_id: UUID, part: str = "", **changes: str) -> str:
        """The page, or a part of it, with this choice and changes; an anchor stays with its part."""
        values = {**self.model_dump(), **changes}
        chosen = {name: value for name, value in values.items() if value}
        if chosen.get("sort") == DEFAULT_SORT:
            del chosen["sort"]
        query = f"?{urlencode(chosen)}" if chosen else ""
        return f"/scoreboards/{group_id}{query}{part}"
