"""Base models from a hub: what is fetched, and what becomes of it when something breaks."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.download import Hub, HubError
from jobs import process
from tests.far import ID, WANTED, fetch, problems, weights_were_asked_for
from tests.hub import COMMIT, StandIn

# --- what is fetched ----------------------------------------------------------------------------------------------


def test_a_fetched_model_is_the_source_byte_for_byte_and_nothing_else(served: StandIn, into: Path) -> None:
    files = fetch(into)
    names = {file.name for file in files}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names <= WANTED | {"model.safetensors"}
    assert {path.name for path in into.iterdir()} == names
    for file in files:
        assert file.read_bytes() == (served.models[ID] / file.name).read_bytes()


def test_only_data_that_is_wanted_is_asked_for_and_each_file_at_the_commit(served: StandIn, into: Path) -> None:
    files = fetch(into, revision="v1")
    assert set(served.files_asked_for()) == {file.name for file in files}
    resolved = [asked.path for asked in served.asked if "/resolve/" in asked.path]
    assert all(f"/resolve/{COMMIT}/" in path for path in resolved)
    assert served.asked[0].path == f"/api/models/{ID}/revision/v1"


def test_the_shards_that_the_index_names_are_fetched_and_no_others(served: StandIn, into: Path) -> None:
    folder = served.models[ID]
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "consolidated.safetensors").write_bytes(b"the same weights in another format")
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    fetch(into)
    assert [name for name in served.files_asked_for() if name.endswith(".safetensors")] == [
        "model-00001-of-00001.safetensors"
    ]


def test_an_index_that_points_elsewhere_is_refused(served: StandIn, into: Path) -> None:
    index = {"weight_map": {"a": "../../secrets.safetensors"}}
    (served.models[ID] / "model.safetensors.index.json").write_text(json.dumps(index))
    (told,) = problems(into)
    assert "'../../secrets.safetensors', which is not there" in told
    assert not weights_were_asked_for(served)


def test_the_hubs_own_client_reads_the_stand_in_alike(served: StandIn, into: Path, tmp_path: Path) -> None:
    fetch(into)
    script = (
        "import sys; from huggingface_hub import snapshot_download;"
        "print(snapshot_download(sys.argv[1], local_dir=sys.argv[2], allow_patterns=sys.argv[3:]))"
    )
    given = [ID, str(tmp_path / "theirs"), *(path.name for path in into.iterdir())]
    environment = process.environment() | {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-c", script, *given], check=True, timeout=120, env=environment, capture_output=True
    )
    for file in into.iterdir():
        assert (tmp_path / "theirs" / file.name).read_bytes() == file.read_bytes()


# --- what breaks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_content_that_is_not_the_listed_one_is_refused_and_not_kept(served: StandIn, into: Path, name: str) -> None:
    served.faults.false_hash = name
    (told,) = problems(into)
    assert told == f"{name} arrived damaged: its hash is not the listed one. It was not kept. Retry."
    assert not (into / name).exists()
    assert not list(into.glob("*.part"))


def test_a_connection_that_breaks_once_is_taken_up_where_it_broke(served: StandIn, into: Path) -> None:
    served.faults.broken["model.safetensors"] = [1000]
    fetch(into)
    ranges = [a.headers.get("range") for a in served.asked if "/stored/" in a.path]
    assert ranges == [None, "bytes=1000-"]


def test_a_connection_that_stays_broken_says_so_and_a_retry_goes_on_from_there(served: StandIn, into: Path) -> None:
    served.faults.broken["model.safetensors"] = [1000, 0, 0, 0]
    (told,) = problems(into)
    assert told == "The connection to 127.0.0.1 broke off. Retry: it goes on where it stopped."
    assert (into / "model.safetensors.part").stat().st_size == 1000
    served.asked.clear()
    fetch(into)
    assert [a.headers.get("range") for a in served.asked if a.file.endswith("safetensors")] == ["bytes=1000-"] * 2
    assert served.files_asked_for() == ["model.safetensors"], "what was whole is not fetched again"
    assert (into / "model.safetensors").read_bytes() == (served.models[ID] / "model.safetensors").read_bytes()


def test_a_server_without_ranges_that_breaks_here_and_there_is_given_up(served: StandIn, into: Path) -> None:
    served.faults.ranges = False
    breaks = served.faults.broken["model.safetensors"] = [1000, 500] * 20
    (told,) = problems(into)
    assert told.startswith("The connection to 127.0.0.1 broke off.")
    assert len(breaks) == 36, "once further than ever, and three times not"


def test_a_server_without_ranges_is_asked_for_the_whole_again(served: StandIn, into: Path) -> None:
    (into / "model.safetensors.part").write_bytes(b"something else")
    served.faults.ranges = False
    fetch(into)
    assert (into / "model.safetensors").read_bytes() == (served.models[ID] / "model.safetensors").read_bytes()


def test_without_a_connection_it_says_so(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    (told,) = problems(into)
    assert told == "No connection to 127.0.0.1. Retry when online, or add a model that is on this machine."


@pytest.mark.parametrize("endpoint", ["file:///etc", "nonsense", "ftp://127.0.0.1"])
def test_an_endpoint_that_is_none_is_refused(into: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert problems(into) == ["HF_ENDPOINT is no address of a hub. It looks like https://huggingface.co."]


def test_what_began_encrypted_is_not_led_elsewhere(served: StandIn) -> None:
    with Hub("https://hub.example") as connection, pytest.raises(HubError, match="not encrypted"):
        connection._client.get(f"{served.endpoint}/api/models/{ID}")
    assert served.asked == []


def test_the_hashes_of_the_stand_in_are_gits_own() -> None:
    # git hash-object of the six bytes "hello\n", as everybody's git gives it.
    assert hashlib.sha1(b"blob 6\0hello\n").hexdigest() == "ce013625030ba8dba906f756967f9e9ca394464a"
