"""Pages that run the box: devices, people's acts, storage, base models, and what probes ask."""

import json
import struct
from pathlib import Path

import pytest
from sqlalchemy import select

from app.database import reading, transaction
from app.library.register import sync_bundled
from app.models import AuditEntry, Dataset, Device, DeviceState, LanguageModel
from app.settings import get_settings
from labs import bundled
from tests.support.factories import make_device, make_run
from tests.support.site import Site


def actions() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))


def test_draining_and_resuming_a_device_is_written_down(site: Site) -> None:
    with transaction() as session:
        make_device(session, "cuda:0", telemetry={"use_fraction": 0.5, "temperature_celsius": 61})
    admin = site.client("ada")
    page = admin.get("/admin/devices").text
    assert "61 °C" in page
    assert "50 %" in page
    drained = admin.post("/admin/devices/cuda:0/drain", data={"reason": "new fan"})
    assert drained.status_code == 303
    assert "new fan" in admin.get("/admin/devices").text
    with reading() as session:
        assert session.get_one(Device, "cuda:0").state is DeviceState.DRAINED
    assert admin.post("/admin/devices/cuda:0/resume").status_code == 303
    assert actions()[-2:] == ["device_drained", "device_active"]
    assert admin.post("/admin/devices/cuda:7/drain").status_code == 404
    log = admin.get("/admin/audit").text
    assert "device_drained" in log
    assert "new fan" in log


def test_the_devices_block_is_answered_alone(site: Site) -> None:
    block = site.client("ada").get("/admin/devices", headers={"HX-Request": "true"})
    assert block.text.lstrip().startswith('<div id="devices"')
    assert "HX-Request" in block.headers["vary"]


def test_storage_says_what_takes_room(site: Site) -> None:
    with transaction() as session:
        run = make_run(session, site.people["sam"], name="a large one")
    folder = get_settings().run_dir(run.id)
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"x" * 3 * 2**20)
    page = site.client("ada").get("/admin/storage").text
    assert "a large one" in page
    assert page.count("3 MiB") == 3


def test_bundled_things_are_registered_once_and_follow_their_folders(site: Site) -> None:
    for _ in range(2):
        with transaction() as session:
            sync_bundled(session)
    with reading() as session:
        names = [row.name for row in session.scalars(select(Dataset)).all()]
        models = [row.name for row in session.scalars(select(LanguageModel)).all()]
    assert sorted(names) == sorted(bundled.datasets())
    assert sorted(models) == sorted(bundled.models())
    assert bundled.DEFAULT_DATASET in site.client("sam").get("/datasets").text


def model_folder(folder: Path) -> Path:
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 16,
    }  # fmt: skip
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(16)
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_an_admin_adds_a_model_folder(site: Site, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    data = {"name": "tiny", "folder": str(folder)}
    assert site.client("maria").post("/library", data=data).status_code == 403
    admin = site.client("ada")
    assert admin.post("/library", data=data).status_code == 303
    assert "LlamaForCausalLM" in admin.get("/library").text
    assert actions()[-1] == "model.register"
    assert "taken" in admin.post("/library", data=data).text


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("relative", "whole path"),
        ("/nowhere/at/all", "no model folder"),
        ("", "whole path"),
        ("/etc", "no config.json"),
    ],
)
def test_a_folder_without_a_model_is_refused_at_its_field(
    site: Site, folder: str, sentence: str
) -> None:
    answer = site.client("ada").post("/library", data={"name": "tiny", "folder": folder})
    assert answer.status_code == 422
    assert 'id="folder-error"' in answer.text
    assert sentence in answer.text


def test_pickled_weights_are_refused(site: Site, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    data = {"name": "tiny", "folder": str(folder)}
    assert "pickled weights" in site.client("ada").post("/library", data=data).text


def test_probes(site: Site) -> None:
    client = site.client()
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["database"]) == (200, "ok")
    assert ready.json()["broker"] == "degraded"
    assert client.get("/version").json()["version"]


def test_counts_are_for_this_machine_and_admins(site: Site) -> None:
    with transaction() as session:
        make_device(session, "cpu", telemetry={"use_fraction": 0.25})
        make_run(session, site.people["sam"])
    assert site.client("sam").get("/metrics").status_code == 403
    counts = site.client("ada").get("/metrics").text
    assert 'bunsen_runs{state="queued"} 1' in counts
    assert 'bunsen_device_use_fraction{device="cpu"} 0.25' in counts
    assert "sam" not in counts


def test_a_missing_migration_makes_the_site_not_ready(site: Site) -> None:
    with transaction() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    answer = site.client().get("/readyz")
    assert answer.status_code == 503
    assert "bunsen db upgrade" in answer.json()["database"]
