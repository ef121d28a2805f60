"""Pages that run the box: devices, people's acts, storage, base models, and what probes ask."""

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
