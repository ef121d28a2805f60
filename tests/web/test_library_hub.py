"""Models of the hub: asked for on the page, fetched by the housekeeper, told when they cannot be."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants
from sqlalchemy import select

from app import cli
from app.database import reading, transaction
from app.errors import Conflict
from app.i18n import sentence
from app.library import fetch
from app.library import hub as library_hub
from app.models import AuditEntry, LanguageModel
from app.settings import get_settings
from tests.support.fake_hub import COMMIT, FakeHub, running_hub
from tests.support.model_folder import SHAPES, make_folder, weights
from tests.support.site import Site, two_classes
from workers.downloads import Fetcher, environment

SECRET = "hf_a-secret"
PATIENCE_SECONDS = 60


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """The only hub that this site knows, with one model, and a token of the site's."""
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    with running_hub() as running:
        running.put("lab/tiny", make_folder(tmp_path / "published"))
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{")[2]
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{running.address}/{{{template}"
        )
        monkeypatch.setenv("BUNSEN_HUB", "online")
        monkeypatch.setenv("BUNSEN_HUB_TOKEN_FILE", str(file))
        get_settings.cache_clear()
        yield running


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    made = Fetcher()
    yield made
    made.close()


def ask(site: Site, **form: str) -> None:
    answer = site.client("ada").post("/library/hub", data={"hub_id": "lab/tiny", **form})
    assert answer.status_code == 303, answer.text


def model() -> LanguageModel | None:
    with reading() as session:
        return session.scalars(select(LanguageModel)).one_or_none()


def turns(fetcher: Fetcher, until: Callable[[], object]) -> None:
    """Turns of the housekeeper until something holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not until():
        assert time.monotonic() < deadline, "the housekeeper did not get there"
        fetcher.take_turn()
        time.sleep(0.05)


def tried(hub_id: str = "lab/tiny", revision: str = "") -> str:
    """The sentence that a download in this process ends with; empty when it succeeds."""
    folder = get_settings().models_dir / "x"
    fetch.main([str(folder), hub_id, revision, "tiny"])
    problem = fetch.read_state(folder).get("problem")
    assert SECRET not in json.dumps(problem)
    return sentence(problem["message"], problem["values"]) if problem else ""


def test_a_model_that_is_cut_off_is_gone_on_with_and_arrives(
    site: Site, hub: FakeHub, fetcher: Fetcher
) -> None:
    hub.cut = 300
    hub.held.clear()
    ask(site)
    ada = site.client("ada")
    turns(fetcher, lambda: "GET /resolve/model.safetensors" in hub.asked)
    turns(fetcher, lambda: "of" in ada.get("/library").text and "are here" in page(site))
    assert model().path == ""  # type: ignore[union-attr]
    refused = site.script("sam").post("/api/v1/runs", json={"lab": "lora", "base_model": "tiny"})
    assert "still on its way" in refused.text
    fetcher.close()  # the housekeeper is restarted
    hub.cut = None
    hub.held.set()
    again = Fetcher()
    try:
        turns(again, lambda: (found := model()) and found.path)
    finally:
        again.close()
    arrived = model()
    assert arrived is not None
    assert (arrived.revision, arrived.license, arrived.hub_id) == (COMMIT, "mit", "lab/tiny")
    assert hub.downloads().count("config.json") == 1
    assert "LlamaForCausalLM" in ada.get(f"/library/{arrived.id}").text
    assert f"Bearer {SECRET}" in hub.tokens
    kept = [path for path in get_settings().models_dir.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in path.read_bytes() for path in kept)
    assert SECRET not in page(site)


@pytest.mark.parametrize("end", ["arrives", "cancelled"])
def test_whoever_is_first_decides_whether_a_model_comes(
    database_url: str, hub: FakeHub, end: str
) -> None:
    ada = two_classes().people["ada"]
    with transaction() as session:
        made = library_hub.ask_for(session, ada, "lab/tiny", "main")
    progress = replace(library_hub.progress_of(made), phase="fetching", done=5, total=10)
    with transaction() as session:
        assert library_hub.note(session, made.id, progress)
    known = model()
    assert known is not None
    assert library_hub.progress_of(known) == progress
    with transaction() as session:
        if end == "arrives":
            assert library_hub.arrive(session, made.id, "/x", {"layers": 2}, COMMIT, "mit")
            with pytest.raises(Conflict):
                library_hub.cancel(session, ada, made.id)
        else:
            library_hub.cancel(session, ada, made.id)
            assert not library_hub.arrive(session, made.id, "/x", {}, COMMIT, "")
        assert not library_hub.note(session, made.id, progress)
        with pytest.raises(Conflict):
            library_hub.try_again(session, ada, made.id)
    assert (model() is None) is (end == "cancelled")


def page(site: Site) -> str:
    return site.client("ada").get("/library", headers={"HX-Request": "true"}).text


def test_cancelling_ends_the_download_and_removes_what_was_here(
    site: Site, hub: FakeHub, fetcher: Fetcher
) -> None:
    hub.cut = 300
    hub.held.clear()
    ask(site, hub_name="mine")
    turns(fetcher, lambda: "GET /resolve/model.safetensors" in hub.asked)
    made = model()
    assert made is not None
    address = f"/library/hub/{made.id}"
    assert site.client("maria").post(f"{address}/cancellation").status_code == 403
    assert site.client("ada").post(f"{address}/cancellation").status_code == 303
    assert site.client("ada").post(f"{address}/cancellation").status_code == 409
    turns(fetcher, lambda: not (get_settings().models_dir / str(made.id)).exists())
    assert model() is None
    assert "mine" not in page(site)
    with reading() as session:
        acts = select(AuditEntry.action).where(AuditEntry.action.startswith("model."))
        assert set(session.scalars(acts)) == {"model.fetch", "model.cancel"}


def test_a_download_that_fails_says_so_and_can_be_tried_again(
    site: Site, hub: FakeHub, fetcher: Fetcher
) -> None:
    hub.gated = True
    ask(site)
    turns(fetcher, lambda: "is gated" in page(site))
    made = model()
    assert made is not None
    hub.gated = False
    assert site.client("ada").post(f"/library/hub/{made.id}/retry").status_code == 303
    assert site.client("ada").post(f"/library/hub/{made.id}/retry").status_code == 409
    assert "is gated" not in page(site)


def test_only_one_housekeeper_fetches(site: Site, hub: FakeHub, fetcher: Fetcher) -> None:
    get_settings().models_dir.mkdir(parents=True)
    fetcher.take_turn()
    ask(site)
    other = Fetcher()
    other.take_turn()
    assert hub.asked == []
    other.close()


def without(hub: FakeHub, *names: str) -> None:
    files = hub.files["lab/tiny"]
    hub.files["lab/tiny"] = {name: data for name, data in files.items() if name not in names}


def only_pickles(hub: FakeHub) -> None:
    without(hub, "model.safetensors")
    hub.files["lab/tiny"]["pytorch_model.bin"] = b"\x80"


def with_code(hub: FakeHub) -> None:
    config = json.loads(hub.files["lab/tiny"]["config.json"])
    hub.files["lab/tiny"]["config.json"] = json.dumps({**config, "auto_map": {}}).encode()


def with_missing_shard(hub: FakeHub) -> None:
    index = {"weight_map": {"x": "model-1.safetensors"}}
    hub.files["lab/tiny"]["model.safetensors.index.json"] = json.dumps(index).encode()


def with_torn_weights(hub: FakeHub) -> None:
    hub.files["lab/tiny"]["model.safetensors"] = weights(SHAPES)[:900]


def as_adapter(hub: FakeHub) -> None:
    without(hub, "config.json")


def gated(hub: FakeHub) -> None:
    hub.gated = True


def lying(hub: FakeHub) -> None:
    hub.lies = True


@pytest.mark.parametrize(
    ("spoil", "told", "weights_asked"),
    [
        (only_pickles, "has pickled weights only", False),
        (with_code, "needs code of its own", False),
        (with_missing_shard, "lacks the file model-1.safetensors", False),
        (as_adapter, "has no config.json", False),
        (gated, "is gated: accept its conditions", False),
        (lying, "did not arrive whole", True),
        (with_torn_weights, "is damaged", True),
    ],
)
def test_what_no_lab_can_use_is_told_before_its_weights_are_fetched(
    home: Path, hub: FakeHub, spoil: Callable[[FakeHub], None], told: str, weights_asked: bool
) -> None:
    spoil(hub)
    assert told in tried()
    assert ("model.safetensors" in hub.downloads()) is weights_asked


@pytest.mark.parametrize(
    ("hub_id", "revision", "told"),
    [("lab/none", "", "has no model “lab/none”"), ("lab/tiny", "v9", "no revision “v9”")],
)
def test_what_the_hub_has_not_is_told(
    home: Path, hub: FakeHub, hub_id: str, revision: str, told: str
) -> None:
    assert told in tried(hub_id, revision)


def test_a_hub_that_is_away_is_told(
    home: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.status = 418
    assert "answered with an error (418)" in tried()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "could not be reached" in tried()


def test_a_model_that_the_disk_cannot_take_is_refused_before_its_weights(
    home: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNSEN_MIN_FREE_BYTES", str(10**18))
    get_settings.cache_clear()
    assert "more on the disk" in tried()
    assert "model.safetensors" not in hub.downloads()


def test_only_what_a_lab_reads_is_fetched(home: Path, hub: FakeHub) -> None:
    extra = {
        "pytorch_model.bin": b"x", "consolidated.safetensors": b"x", "evil.py": b"x", "a.gguf": b"x",
        ".gitattributes": b"x",
    }  # fmt: skip
    hub.files["lab/tiny"] |= extra
    assert tried() == ""
    assert not set(hub.downloads()) & set(extra)
    state = fetch.read_state(get_settings().models_dir / "x")
    assert (state["commit"], state["license"]) == (COMMIT, "mit")


def test_a_token_file_that_is_gone_is_told_by_its_name(home: Path, hub: FakeHub) -> None:
    file = get_settings().hub_token_file
    assert file is not None
    file.unlink()
    assert "cannot be read or written: token." in tried()
    assert hub.asked == []


@pytest.mark.parametrize(("here", "asked_from"), [(300, [300]), (0, []), (10**5, [])])
def test_a_half_file_is_gone_on_with(
    home: Path, hub: FakeHub, here: int, asked_from: list[int]
) -> None:
    with_torn_weights(hub)
    assert "is damaged" in tried()  # it is whole, of a known commit, and damaged at its source
    folder = get_settings().models_dir / "x" / "tiny"
    (folder / "model.safetensors").unlink()
    whole = weights(SHAPES)
    hub.files["lab/tiny"]["model.safetensors"] = whole
    part = whole[:here] if here <= len(whole) else bytes(here)
    (folder / ".model.safetensors.part").write_bytes(part)
    assert tried() == ""
    assert hub.resumed == asked_from
    assert (folder / "model.safetensors").read_bytes() == whole
    assert hub.downloads().count("config.json") == 1


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"hub_id": ""}, "hub_id"),
        ({"hub_id": "tiny"}, "hub_id"),
        ({"hub_id": "../x"}, "hub_id"),
        ({"hub_id": "https://hub/lab/tiny"}, "hub_id"),
        ({"hub_id": "lab/" + "x" * 300}, "hub_id"),
        ({"hub_id": "lab/tiny", "revision": "../main"}, "revision"),
        ({"hub_id": "lab/tiny", "revision": "a b"}, "revision"),
        ({"hub_id": "lab/tiny", "hub_name": "a b"}, "hub_name"),
    ],
)
def test_what_is_no_address_is_told_at_its_field(
    site: Site, hub: FakeHub, form: dict[str, str], field: str
) -> None:
    answer = site.client("ada").post("/library/hub", data=form)
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.text
    assert model() is None


def test_an_offline_site_says_so_and_asks_nobody(site: Site) -> None:
    assert "The hub is switched off" in site.client("sam").get("/library").text
    assert "Fetch a model of the hub" not in site.client("ada").get("/library").text
    answer = site.client("ada").post("/library/hub", data={"hub_id": "lab/tiny"})
    assert answer.status_code == 409
    assert model() is None


def test_a_child_finds_nobodys_token(tmp_path: Path) -> None:
    found = environment({"HF_TOKEN": SECRET, "HTTPS_PROXY": "p", "HF_HUB_OFFLINE": "1"}, tmp_path)
    assert SECRET not in found.values()
    assert (found["HTTPS_PROXY"], found["HF_HUB_OFFLINE"]) == ("p", "0")


def test_the_settings_name_the_file_and_never_the_token(
    hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["doctor"])
    assert SECRET not in capsys.readouterr().out
