"""Base models from a hub: a stand-in on loopback that answers, refuses, lies and breaks off.

pytest tests/test_hub.py
"""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tests.hub
from adapters_store.store import Store
from adapters_store.tables import Job
from engine import base_config
from engine import hub as hubs
from engine.download import Hub, HubError
from engine.hub_id import HubId, parse
from jobs import process
from jobs.ending import Ending
from jobs.worker import do
from tests.hub import COMMIT, StandIn, hub
from tests.workshop import add_rows, shared_tiny_model, wait_for, wait_for_state

ID = "org/tiny"
TOKEN = "hf_secret0123456789"
WANTED = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """A hub with the tiny model, and beside it what nobody should fetch. The environment points there."""
    for name in ("HF_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "on-the-hub"
    shutil.copytree(shared_tiny_model(), folder)
    for name in ("pytorch_model.bin", "modeling_evil.py", "README.md", "training_args.bin"):
        (folder / name).write_text("nobody asks for this")
    with hub() as stand_in:
        stand_in.models[ID] = folder
        monkeypatch.setenv("HF_ENDPOINT", stand_in.endpoint)
        yield stand_in


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def fetch(into: Path, id: str = ID, revision: str = "main") -> list[Path]:
    """What a job does, without one."""
    with Hub() as connection:
        listing = hubs.look_up(connection, HubId(id, revision))
        return hubs.fetch(connection, listing, into, lambda config: base_config.problems(config, id), lambda *_: None)


def problems(into: Path, id: str = ID, revision: str = "main") -> list[str]:
    with pytest.raises(HubError) as refused:
        fetch(into, id, revision)
    return refused.value.problems


def weights_were_asked_for(served: StandIn) -> bool:
    return any(name.endswith(".safetensors") for name in served.files_asked_for())


def rewrite(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


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


# --- what is refused ----------------------------------------------------------------------------------------------


def _gated(served: StandIn) -> None:
    served.faults.gated = True


def _private(served: StandIn) -> None:
    served.faults.private = True


def _busy(served: StandIn) -> None:
    served.faults.busy = True


def _pickles(served: StandIn) -> None:
    (served.models[ID] / "model.safetensors").unlink()


def _own_code(served: StandIn) -> None:
    code = {"AutoModelForCausalLM": "modeling_evil.Evil"}
    rewrite(served.models[ID] / "config.json", model_type="evil", auto_map=code)


def _foreign_code(served: StandIn) -> None:
    rewrite(served.models[ID] / "config.json", _attn_implementation_internal="evil/kernel")


def _tokenizer_code(served: StandIn) -> None:
    rewrite(served.models[ID] / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_evil.Evil", None]})


def _no_tokenizer(served: StandIn) -> None:
    (served.models[ID] / "tokenizer.json").unlink()


def _pictures(served: StandIn) -> None:
    rewrite(served.models[ID] / "config.json", model_type="vit")


def _unknown(served: StandIn) -> None:
    rewrite(served.models[ID] / "config.json", model_type="brandnew")


def _adapter(served: StandIn) -> None:
    (served.models[ID] / "config.json").rename(served.models[ID] / "adapter_config.json")


def _gguf(served: StandIn) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (served.models[ID] / name).unlink()
    (served.models[ID] / "tiny.Q4_0.gguf").write_bytes(b"GGUF")


REFUSALS: list[tuple[Callable[[StandIn], None], str]] = [
    (_gated, "org/tiny is gated. Accept its terms at http://127.0.0.1"),
    (_private, "has no model org/tiny, or a private one. Check the spelling."),
    (_busy, "has trouble of its own (HTTP 503). Retry later."),
    (_pickles, "only in pytorch_model.bin, a format that can run code"),
    (_own_code, "needs its own Python code to run (auto_map in config.json)"),
    (_foreign_code, "asks for foreign code (_attn_implementation_internal in config.json), which is never run"),
    (_tokenizer_code, "The tokenizer of org/tiny needs its own Python code"),
    (_no_tokenizer, "org/tiny has no tokenizer"),
    (_pictures, "is of type vit, which is no text model"),
    (_unknown, "is of type brandnew, which is no text model that transformers can train"),
    (_adapter, "org/tiny is an adapter, not a base model"),
    (_gguf, "org/tiny holds GGUF files. Download one of them"),
]


@pytest.mark.parametrize(("change", "told"), REFUSALS)
def test_what_cannot_serve_is_refused_in_words_before_any_weight_is_fetched(
    served: StandIn, into: Path, change: Callable[[StandIn], None], told: str
) -> None:
    change(served)
    assert told in " ".join(problems(into))
    assert not weights_were_asked_for(served)


def test_all_that_is_wrong_is_told_at_once(served: StandIn, into: Path) -> None:
    for change in (_pickles, _own_code, _tokenizer_code, _no_tokenizer):
        change(served)
    assert len(problems(into)) == 4


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_small_file_that_is_said_to_be_huge_is_not_fetched(
    served: StandIn, into: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    listed = tests.hub._listed
    monkeypatch.setattr(
        tests.hub, "_listed", lambda file: listed(file) | ({"size": 300_000_000} if file.name == name else {})
    )
    (told,) = problems(into)
    assert told == f"{name} of {ID} has 300 MB, and at most 200 MB are believed of such a file. Nothing was fetched."
    assert served.files_asked_for() == []
    with Hub() as connection:
        listing = hubs.look_up(connection, HubId(ID))
        if name == "config.json":
            with pytest.raises(HubError, match="has 300 MB"):
                hubs.fetch_config(connection, listing, into)
    assert served.files_asked_for() == []


def test_weights_without_a_hash_are_refused_before_they_are_fetched(
    served: StandIn, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tests.hub._listed
    monkeypatch.setattr(
        tests.hub, "_listed", lambda file: {k: v for k, v in listed(file).items() if k not in ("lfs", "blobId")}
    )
    (told,) = problems(into)
    assert told == f"The hub lists no hash of model.safetensors of {ID}, so nobody could tell if it arrived whole."
    assert not weights_were_asked_for(served)


def test_a_disk_that_is_too_small_is_named_before_any_weight_is_fetched(
    served: StandIn, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "SPARE_BYTES", 10**18)
    (told,) = problems(into)
    assert "GB free, and this model wants 1000000000.0 GB" in told
    assert not weights_were_asked_for(served)


def test_a_hub_that_changes_its_mind_in_the_middle_is_understood_too(served: StandIn, into: Path) -> None:
    def gate(stage: str, done: int, total: int) -> None:
        served.faults.gated = stage == "Downloading"

    with Hub() as connection:
        listing = hubs.look_up(connection, HubId(ID))
        with pytest.raises(HubError, match="org/tiny is gated"):
            hubs.fetch(connection, listing, into, lambda _: [], gate)


def test_a_missing_model_or_revision_is_said_to_be_missing(served: StandIn, into: Path) -> None:
    assert "has no model org/nobody" in problems(into, "org/nobody")[0]
    assert "org/tiny has no revision v9" in problems(into, revision="v9")[0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("org/name", HubId("org/name", "main")),
        ("  org/name@v1.0 ", HubId("org/name", "v1.0")),
        ("Qwen/Qwen2.5-0.5B@refs/pr/1", HubId("Qwen/Qwen2.5-0.5B", "refs/pr/1")),
        ("name", None),
        ("../x", None),
        ("org/../x", None),
        ("/etc/passwd", None),
        ("https://huggingface.co/org/name", None),
        ("http://127.0.0.1/x", None),
        ("user@host/x", None),
        ("org/name?x=1", None),
        ("org\\name", None),
        ("org/name/more", None),
        ("-o/name", None),
        ("org/name@../../x", None),
        ("órg/name", None),
        ("org/name\n", HubId("org/name", "main")),
        ("org/na\nme", None),
    ],
)
def test_only_a_name_passes_for_a_name(text: str, wanted: HubId | None) -> None:
    assert parse(text) == wanted


# --- the token ----------------------------------------------------------------------------------------------------


def test_the_token_goes_to_the_hub_alone(served: StandIn, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    fetch(into)
    for asked in served.asked:
        sent = asked.headers.get("authorization")
        assert sent == (None if "/stored/" in asked.path else f"Bearer {TOKEN}")


def _refuses_tokens(served: StandIn) -> None:
    served.faults.refuses_tokens = True


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_gated, "is gated, and HF_TOKEN does not open it. Accept its terms"),
        (_private, "has no model org/tiny, or HF_TOKEN may not see it"),
        (_refuses_tokens, "does not accept HF_TOKEN for org/tiny (HTTP 401)"),
    ],
)
def test_a_token_that_does_not_help_is_said_not_to(
    served: StandIn, into: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[StandIn], None], told: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    change(served)
    assert told in problems(into)[0]


def test_what_is_no_token_is_refused_without_repeating_it(
    served: StandIn, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret\r\nHost: evil")
    (told,) = problems(into)
    assert "HF_TOKEN holds something that is no access token" in told
    assert "secret" not in told


# --- the job ------------------------------------------------------------------------------------------------------


def submit(store: Store, revision: str = "main") -> Job:
    return store.submit("fetch", "tiny", {"source": "hub", "id": ID, "revision": revision, "name": "tiny"})


def temp(store: Store) -> list[Path]:
    return list((store.files.root / "temp").iterdir())


def test_the_job_publishes_the_model_pinned_to_its_commit(served: StandIn, store: Store) -> None:
    job = submit(store)
    do(store, job.id, Ending())
    done = wait_for_state(store, job.id, "completed")
    (base,) = store.base_models()
    assert done.progress["base_model"] == base.id
    assert (base.name, base.source, base.path) == ("tiny", "hub", None)
    assert base.facts["hub"] == {"id": ID, "commit": COMMIT}
    assert base.facts["chat_template"]
    assert store.files.problems("models", base.folder or "") == []
    assert done.progress["total_bytes"] is None
    assert temp(store) == []


def test_the_same_commit_is_not_fetched_twice(served: StandIn, store: Store) -> None:
    do(store, submit(store).id, Ending())
    served.asked.clear()
    again = submit(store, "v1")
    do(store, again.id, Ending())
    done = wait_for_state(store, again.id, "completed")
    assert done.progress["base_model"] == store.base_models()[0].id
    assert served.files_asked_for() == []
    assert len(store.files.published("models")) == 1


def test_a_failed_job_says_why_and_the_next_one_goes_on(served: StandIn, store: Store) -> None:
    served.faults.broken["model.safetensors"] = [2000, 0, 0, 0]
    failed = submit(store)
    do(store, failed.id, Ending())
    assert store.job(failed.id).why == "The connection to 127.0.0.1 broke off. Retry: it goes on where it stopped."
    assert store.base_models() == []
    assert store.files.published("models") == []
    assert store.files.sweep() == [], "what was half fetched outlives the sweep of another start"
    served.asked.clear()
    do(store, submit(store).id, Ending())
    assert {a.headers.get("range") for a in served.asked if a.file.endswith("safetensors")} == {"bytes=2000-"}
    assert len(store.base_models()) == 1
    assert temp(store) == []


def test_what_was_half_fetched_is_swept_when_nobody_asks_for_it_for_a_day(store: Store) -> None:
    place = store.files.unfinished("something")
    assert store.files.sweep() == []
    os.utime(place, (0, 0))
    assert store.files.sweep() == [place]


def test_neither_database_nor_logs_nor_messages_know_the_token(
    served: StandIn, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    caplog.set_level(logging.DEBUG)
    do(store, submit(store).id, Ending())
    for change in (_gated, _busy):
        change(served)
        do(store, submit(store, "v1").id, Ending())
    served.faults.gated = served.faults.busy = False
    store.close()
    assert TOKEN not in caplog.text
    for file in store.files.root.rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file


# --- a real worker ------------------------------------------------------------------------------------------------


def test_a_worker_reports_bytes_is_cancelled_in_the_middle_and_fetches_again(
    served: StandIn, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    served.faults.hold["model.safetensors"] = threading.Event()
    size = (served.models[ID] / "model.safetensors").stat().st_size
    job = submit(store)
    worker = start(store, job.id)
    try:
        wait_for(lambda: (store.job(job.id).progress.get("done_bytes") or 0) > size // 4, 90, "some bytes")
        assert store.job(job.id).progress["total_bytes"] > size
        store.request_stop(job.id, "cancel")
        assert wait_for_state(store, job.id, "cancelled", seconds=15).why == "Cancelled. Nothing was kept."
        assert worker.wait(10) == 0
    finally:
        worker.kill()
        worker.wait()
    assert store.base_models() == []
    assert store.files.published("models") == []
    assert temp(store) == []
    served.faults.hold.pop("model.safetensors").set()
    _fetched_by_a_worker_it_can_be_trained(store)
    assert TOKEN not in store.files.log("job-1").read_text()


def _fetched_by_a_worker_it_can_be_trained(store: Store) -> None:
    job = submit(store)
    assert start(store, job.id).wait(120) == 0
    wait_for_state(store, job.id, "completed")
    (base,) = store.base_models()
    values: dict[str, Any] = {"rank": 4, "alpha": 8, "epochs": 1, "batch_size": 8, "micro_batch": 4}
    run = store.submit("train", "run", values, base_model_id=base.id, data_set_id=add_rows(store).id)
    do(store, run.id, Ending())
    wait_for_state(store, run.id, "completed")


def start(store: Store, job_id: int) -> "subprocess.Popen[bytes]":
    command = process.module_command("jobs.worker", str(job_id), "--data-dir", str(store.files.root))
    return process.start_detached(command, store.files.log(f"job-{job_id}"))


def test_the_hashes_of_the_stand_in_are_gits_own() -> None:
    # git hash-object of the six bytes "hello\n", as everybody's git gives it.
    assert hashlib.sha1(b"blob 6\0hello\n").hexdigest() == "ce013625030ba8dba906f756967f9e9ca394464a"
