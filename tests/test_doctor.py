"""Doctor finds each fault that is planted, says how to mend it, and finds nothing in a whole folder."""

import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from adapters_store.store import Store
from adapters_store.tables import Adapter, Owner
from jobs import devices, process
from studio import doctor
from studio.doctor import Finding
from tests.furnish import add_adapter, furnish


@pytest.fixture
def adapter(store: Store) -> Adapter:
    return add_adapter(store, *furnish(store))


def faults(store: Store, deep: bool = False) -> list[Finding]:
    return doctor.run(store, deep=deep).faults


def only(found: list[Finding]) -> Finding:
    assert len(found) == 1, found
    assert found[0].mend, "a fault says how to mend it"
    return found[0]


def flip_a_bit(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    whole[-1] ^= 1
    file.write_bytes(whole)


def test_a_whole_folder_has_no_fault(store: Store, adapter: Adapter) -> None:
    assert faults(store, deep=True) == []


def test_one_flipped_bit_of_an_adapter_is_found(store: Store, adapter: Adapter) -> None:
    flip_a_bit(store.adapter_path(adapter) / "adapter_model.safetensors")
    fault = only(faults(store))
    assert fault.check == "adapters"
    assert adapter.name in fault.says
    assert "adapter_model.safetensors" in fault.says


def test_an_adapter_that_was_exchanged_with_its_manifest_is_found(store: Store, adapter: Adapter) -> None:
    other = add_adapter(store, adapter.base_model, store.data_sets()[0], "another")
    shutil.rmtree(store.adapter_path(adapter))
    shutil.copytree(store.adapter_path(other), store.adapter_path(adapter))
    assert "not the ones that were trained" in only(faults(store)).says


def test_a_missing_adapter_folder_is_found(store: Store, adapter: Adapter) -> None:
    shutil.rmtree(store.adapter_path(adapter))
    assert "missing" in only(faults(store)).says


def test_a_deleted_adapter_is_no_fault(store: Store, adapter: Adapter) -> None:
    store.delete_adapter(adapter.id)
    assert faults(store) == []


def test_a_changed_data_set_is_found(store: Store, adapter: Adapter) -> None:
    flip_a_bit(store.rows_path(store.data_sets()[1]))
    assert only(faults(store)).check == "data sets"


def test_a_missing_base_model_is_found_at_once_and_a_changed_one_when_looking_deep(
    store: Store, adapter: Adapter
) -> None:
    folder = store.base_path(adapter.base_model)
    flip_a_bit(folder / "config.json")
    assert faults(store) == []
    assert only(faults(store, deep=True)).check == "base models"
    shutil.rmtree(folder)
    assert only(faults(store)).check == "base models"


def test_an_orphan_folder_is_found(store: Store, adapter: Adapter) -> None:
    shutil.copytree(store.adapter_path(adapter), store.files.path("adapters", "f" * 32))
    fault = only(faults(store))
    assert fault.check == "orphans"
    assert "f" * 32 in fault.says


def test_a_running_job_without_its_worker_is_found(store: Store, adapter: Adapter) -> None:
    lost, living = store.submit("train", "lost", {}), store.submit("train", "living", {})
    store.claim(lost.id, Owner(2**22 + 1, 1.0, process.boot_id()))
    store.claim(living.id, process.identify())
    fault = only(faults(store))
    assert fault.check == "jobs"
    assert "lost" in fault.says


def test_what_a_dead_process_left_in_temp_is_a_warning(store: Store, adapter: Adapter) -> None:
    (store.files.root / "temp" / f"adapters.{2**22 + 1}.1.{'a' * 32}").mkdir()
    report = doctor.run(store)
    assert report.faults == []
    assert any(f.check == "leftovers" and f.level == "warning" for f in report.findings)


def test_a_library_that_cannot_be_opened_is_a_fault_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "studio.db").write_bytes(b"this is no database" * 100)
    report = doctor.examine(tmp_path)
    assert [fault.check for fault in report.faults] == ["database"]


def test_an_old_package_is_a_fault(store: Store, adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    real = devices.installed
    monkeypatch.setattr(devices, "installed", lambda name: "5.4.9" if name == "transformers" else real(name))
    fault = only(faults(store))
    assert "5.4.9" in fault.says
    assert "pip install" in fault.mend


@pytest.mark.parametrize(("found", "level"), [((3, 40, 1), "warning"), ((3, 51, 3), "ok"), ((3, 52, 0), "ok")])
def test_an_old_sqlite_is_a_warning(found: tuple[int, ...], level: str) -> None:
    assert doctor._sqlite(found).level == level


@pytest.mark.parametrize(
    ("torch", "gpus", "warned"),
    [("2.13.0+cpu", "NVIDIA L4", True), ("2.13.0+cu130", "NVIDIA L4", False), ("2.13.0+cpu", "", False)],
)
def test_a_cpu_build_beside_a_gpu_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, torch: str, gpus: str, warned: bool
) -> None:
    monkeypatch.setattr(devices, "installed", lambda name: torch if name == "torch" else None)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    answer = subprocess.CompletedProcess([], 0, f"GPU-1, {gpus}\n" if gpus else "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert [f.level == "warning" for f in doctor._processor()] == [warned]


def test_the_report_is_one_json_object(store: Store, adapter: Adapter) -> None:
    record = json.loads(json.dumps(doctor.run(store).record()))
    assert record["healthy"] is True
    assert record["counts"]["fault"] == 0
    assert {"check", "level", "says", "mend"} == set(record["findings"][0])


def test_looking_changes_nothing(store: Store, adapter: Adapter) -> None:
    (store.files.root / "temp" / f"adapters.{2**22 + 1}.1.{'a' * 32}").mkdir()
    before = sorted(store.files.root.rglob("*")), store.revision()
    doctor.run(store, deep=True)
    assert (sorted(store.files.root.rglob("*")), store.revision()) == before


def test_a_damaged_checkpoint_is_a_warning_since_its_run_passes_it_over(store: Store, adapter: Adapter) -> None:
    job = store.claim(store.submit("train", "night", {}).id, process.identify())
    assert job is not None
    with store.files.draft("checkpoints") as draft:
        (draft.path / "checkpoint.json").write_text("{}")
        key = draft.publish()
    store.add_checkpoint(job.id, job.token, step=3, folder=key)
    assert faults(store) == []
    flip_a_bit(store.files.path("checkpoints", key) / "checkpoint.json")
    report = doctor.run(store)
    assert report.faults == []
    (warning,) = [found for found in report.findings if found.check == "checkpoints"]
    assert (warning.level, warning.says.startswith(f"Of step 3 of job {job.id}: checkpoint.json has changed")) == (
        "warning",
        True,
    )


@pytest.mark.parametrize(("kind", "told"), [("nfs4", True), ("CIFS", True), ("ext4", False)])
def test_a_data_folder_on_a_network_drive_is_a_warning(
    store: Store, monkeypatch: pytest.MonkeyPatch, kind: str, told: bool
) -> None:
    def drives(all: bool) -> list[SimpleNamespace]:
        there = [("/", "nfs"), (str(store.files.root), kind), (str(store.files.root) + "-other", "nfs")]
        return [SimpleNamespace(mountpoint=place, fstype=name) for place, name in there]

    monkeypatch.setattr("psutil.disk_partitions", drives)
    found = [finding for finding in doctor.run(store).findings if finding.check == "drive"]
    assert bool(found) == told
    assert all(kind in finding.says and "--data-dir" in finding.mend for finding in found)
