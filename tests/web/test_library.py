"""Base models: what an admin adds, what everybody sees, and what no longer holds."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from app.database import reading, transaction
from app.library import soundness
from app.library.register import sync_bundled
from app.models import AuditEntry, LanguageModel, RunState
from app.settings import get_settings
from labs import registry
from tests.support.factories import make_device, make_run
from tests.support.model_folder import SHAPES, make_folder, weights
from tests.support.site import Site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "models" / "tiny")


def add(site: Site, folder: Path, name: str = "tiny") -> str:
    """The page of a folder that an admin has added."""
    answer = site.client("ada").post("/library", data={"name": name, "folder": str(folder)})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def refusal(site: Site, folder: Path | str, field: str = "folder") -> str:
    """What is told beside a field of the form that adds a folder."""
    answer = site.client("ada").post("/library", data={"name": "tiny", "folder": str(folder)})
    assert answer.status_code == 422
    assert f'value="{folder}"' in answer.text or field != "folder"
    return answer.text.split(f'id="{field}-error"')[1].split("</p>")[0]


def start(site: Site, model: str) -> list[dict[str, str]]:
    """The errors of a run on this model."""
    answer = site.script("sam").post("/api/v1/runs", json={"lab": "lora", "base_model": model})
    errors: list[dict[str, str]] = answer.json().get("errors", [])
    return [each for each in errors if each["field"] == "base_model"]


def actions() -> list[str]:
    with reading() as session:
        models = select(AuditEntry.action).where(AuditEntry.action.startswith("model."))
        return list(session.scalars(models.order_by(AuditEntry.id)))


def test_an_admin_adds_a_folder_and_everybody_sees_what_it_is(site: Site, folder: Path) -> None:
    data = {"name": "tiny", "folder": str(folder)}
    assert site.client("maria").post("/library", data=data).status_code == 403
    address = add(site, folder)
    assert actions()[-1] == "model.register"
    page = site.client("sam").get(address).text
    for fact in ("LlamaForCausalLM", "mit", "512", "float32", "self_attn.q_proj"):
        assert fact in page
    assert str(folder) not in page
    assert str(folder) in site.client("ada").get(address).text
    assert "LlamaForCausalLM" in site.client("sam").get("/library").text
    again = site.client("ada").post("/library", data=data)
    assert "“tiny” is taken." in again.text
    assert str(folder) in again.text


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("relative", "whole path"),
        ("", "whole path"),
        ("/x\u2028y", "whole path"),
        ("/" + "x" * 2000, "whole path"),
        ("/" + "x" * 600, "cannot be read"),
        ("/nowhere/at/all", "no model folder"),
        ("/etc/passwd", "no model folder"),
        ("/etc", "no config.json"),
    ],
)
def test_a_folder_without_a_model_is_refused_at_its_field(
    site: Site, path: str, sentence: str
) -> None:
    assert sentence in refusal(site, path)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def torn(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 600)


def coded(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "x.X"}}))


def wordless(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"secret": "s3cr3t"}')


def speechless(folder: Path) -> None:
    words = json.loads((folder / "tokenizer.json").read_text())
    words["model"]["unk_token"] = "s3cr3t"
    (folder / "tokenizer.json").write_text(json.dumps(words))


def unscripted(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{% for s3cr3t in %}")


def linked(folder: Path) -> None:
    outside = folder.parent / "config-s3cr3t.json"
    (folder / "config.json").rename(outside)
    (folder / "config.json").symlink_to(outside)


def lettered(folder: Path) -> None:
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("/etc/hostname")


def blocked(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


def endless(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("tokenizer.json")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (pickled, "pickled weights only"),
        (torn, "model.safetensors"),
        (coded, "needs code of its own"),
        (wordless, "tokenizer.json"),
        (speechless, "tokenizer.json"),
        (unscripted, "chat_template"),
        (linked, "a link that leads out of the folder"),
        (lettered, "a link that leads out of the folder"),
        (blocked, "no config.json"),
        (endless, "no tokenizer"),
    ],
)
def test_each_fault_of_a_folder_is_told_without_its_content(
    site: Site, folder: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(folder)
    told = refusal(site, folder)
    assert sentence in told
    assert "s3cr3t" not in told


def test_the_sites_own_data_are_no_models(site: Site) -> None:
    folder = make_folder(get_settings().runs_dir / "a-run" / "merged")
    assert "data folder of this site" in refusal(site, folder)


def test_a_folder_of_the_hubs_cache_is_taken(site: Site, folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "models--a--tiny"
    (cache / "blobs").mkdir(parents=True)
    (cache / "snapshots" / "abc").mkdir(parents=True)
    for number, file in enumerate(sorted(folder.iterdir())):
        shutil.move(file, cache / "blobs" / str(number))
        (cache / "snapshots" / "abc" / file.name).symlink_to(f"../../blobs/{number}")
    add(site, cache / "snapshots" / "abc")


def test_a_folder_of_thousands_of_files_is_refused(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soundness, "MOST_FILES", 3)
    assert "more than 3 files" in refusal(site, folder)


@pytest.mark.parametrize("change", ["gone", "weights", "damaged"])
def test_a_folder_that_is_no_longer_the_same_starts_no_run(
    site: Site, folder: Path, change: str
) -> None:
    address = add(site, folder)
    (folder / "notes.md").write_text("This changes no run.")
    assert not any("changed" in error["message"] for error in start(site, "tiny"))
    if change == "gone":
        folder.rename(folder.with_name("elsewhere"))
    else:
        shapes = {**SHAPES, "lm_head.weight": (4, 8)}
        content = weights(shapes)
        (folder / "model.safetensors").write_bytes(content[: 700 if change == "damaged" else None])
    errors = start(site, "tiny")
    sentence = "cannot be read" if change == "gone" else "have changed since they were checked"
    assert [sentence in error["message"] for error in errors] == [True]
    assert str(folder) not in errors[0]["message"]
    sam, ada = site.client("sam"), site.client("ada")
    assert sentence in sam.get(address).text
    assert "cannot be used now" in sam.get("/library").text
    assert sam.post(f"{address}/check").status_code == 403
    checked = ada.post(f"{address}/check").status_code
    assert checked == (303 if change == "weights" else 409)
    if change == "weights":
        assert actions()[-1] == "model.check"
        assert sentence not in sam.get(address).text


def test_a_model_goes_and_comes_back_and_its_runs_stay(site: Site, folder: Path) -> None:
    address = add(site, folder)
    with transaction() as session:
        model = session.scalars(select(LanguageModel)).one()
        run = make_run(session, site.people["sam"], base_model_id=model.id, state=RunState.FAILED)
        make_run(session, site.people["tess"], base_model_id=model.id, name="of-tess")
    sam, ada = site.client("sam"), site.client("ada")
    assert run.name in sam.get(address).text
    assert "of-tess" not in sam.get(address).text
    assert "of-tess" in ada.get(address).text
    assert sam.post(f"{address}/retirement").status_code == 403
    assert ada.post(f"{address}/retirement").status_code == 303
    assert ada.post(f"{address}/retirement").status_code == 303
    assert actions() == ["model.register", "model.retire"]
    assert "tiny" not in sam.get("/library").text
    assert "tiny" in ada.get("/library").text
    assert ["taken out" in error["message"] for error in start(site, "tiny")] == [True]
    shutil.rmtree(folder)
    for page in (f"/runs/{run.id}", f"/labs/lora/runs/new?from={run.id}", address):
        assert sam.get(page).status_code == 200
    assert "was taken out of the library" in sam.get(f"/labs/lora/runs/new?from={run.id}").text
    assert ada.post(f"{address}/retirement/removal").status_code == 303
    assert "tiny" in sam.get("/library").text


def test_what_comes_with_bunsen_stays(site: Site) -> None:
    with transaction() as session:
        sync_bundled(session)
        base = session.scalars(select(LanguageModel).where(LanguageModel.name == "base")).one()
    assert (base.origin, base.license) == ("bundled", "apache-2.0")
    ada = site.client("ada")
    assert ada.post(f"/library/{base.id}/retirement").status_code == 409
    assert "Take out" not in ada.get(f"/library/{base.id}").text


def test_each_lab_says_whether_it_takes_a_model(site: Site, tmp_path: Path) -> None:
    with transaction() as session:
        make_device(session)
    shapes = {name: shape for name, shape in SHAPES.items() if not name.endswith("bias")}
    folder = make_folder(tmp_path / "plain", max_position_embeddings=16)
    (folder / "model.safetensors").write_bytes(weights(shapes))
    address = add(site, folder, "plain")
    page = site.client("sam").get(address).text
    for lab in registry.all_labs():
        assert f'href="/labs/{lab.slug}"' in page
    assert "which reads at most 16 tokens" in page
    assert "Another value of “Maximum length” would do." in page
    form = site.client("sam").get(f"/labs/bitfit/runs/new?base_model={address[9:]}").text
    assert "plain (needs other parameters)" in form
    short = {"max_length": "16", "base_model": address[9:], "seed": "0"}
    form = site.client("sam").post("/labs/bitfit/runs", data=short).text
    assert "plain (refused)" in form
    assert "has no bias vectors, so BitFit has nothing to train" in form


def test_searching_finds_names_and_architectures(site: Site, folder: Path) -> None:
    with transaction() as session:
        sync_bundled(session)
    add(site, folder)
    sam = site.client("sam")
    for search, found in (("TIN", True), ("llama", True), ("qwen2", False), ("%", False)):
        assert ("tiny" in sam.get("/library", params={"q": search}).text) is found
    nothing = sam.get("/library", params={"q": "<script>"}).text
    assert "No model is called so" in nothing
    assert "<script>" not in nothing.split("<main")[1]


def test_a_library_without_models_says_who_can_add_some(site: Site) -> None:
    assert "No base models yet" in site.client("sam").get("/library").text
