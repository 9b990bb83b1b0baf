"""Several GPUs: one run on each, chosen or whichever is free. The tool that lists them is one that tests write."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import Store
from adapters_store.tables import Job
from jobs import devices, process, runner
from jobs.devices import Place
from jobs.queue import next_to_start
from jobs.runner import Runner
from studio import run_facts
from tests.terminal import Terminal

TWO = "GPU-aa, NVIDIA L4\nGPU-bb, NVIDIA A10\n"
PLACES = [Place("cuda:0", "NVIDIA L4", "GPU-aa"), Place("cuda:1", "NVIDIA A10", "GPU-bb")]


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Place]]:
    """What is found where the driver's tool lists `text`, and torch and the environment are as given."""

    def found(text: str = TWO, torch: str | None = "2.13.0+cu130", visible: str | None = None) -> list[Place]:
        monkeypatch.setattr(devices, "installed", lambda name: torch if name == "torch" else None)
        monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
        answer = subprocess.CompletedProcess([], 0, text, "")
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
        monkeypatch.delenv(devices.VISIBLE, raising=False)
        if visible is not None:
            monkeypatch.setenv(devices.VISIBLE, visible)
        return devices.places()

    return found


def test_each_gpu_is_a_place_unless_torch_cannot_use_it(listed: Callable[..., list[Place]]) -> None:
    assert listed() == PLACES
    assert listed(torch="2.13.0+cpu") == listed(torch=None) == listed(text="") == []


def test_what_the_environment_hides_is_no_place(listed: Callable[..., list[Place]]) -> None:
    assert listed(visible="GPU-bb") == [Place("cuda:0", "NVIDIA A10", "GPU-bb")]
    assert [place.visible for place in listed(visible="1,0")] == ["1", "0"]
    assert listed(visible="") == listed(visible="-1") == []


class Started:
    """In place of the starting of workers: which words each was given. They claim, if `claims`, and never end."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.words: list[list[str]] = []
        self.claims = True

    def __call__(self, argv: list[str], log: Path) -> Any:
        self.words.append(argv[argv.index("jobs.worker") + 1 :])
        given = dict(zip(self.words[-1][1::2], self.words[-1][2::2], strict=True))
        if self.claims:
            self.store.claim(int(self.words[-1][0]), process.identify(), given.get("--device"))
        return subprocess.Popen(["sleep", "1000"])


@pytest.fixture
def started(store: Store, monkeypatch: pytest.MonkeyPatch) -> Started:
    started = Started(store)
    monkeypatch.setattr(process, "start_detached", started)
    monkeypatch.setattr(runner, "places", lambda: PLACES)
    return started


def looked(store: Store, times: int = 1) -> None:
    """The looks of a runner, whose workers are gone afterwards."""
    one = Runner(store)
    for _ in range(times):
        one.step()
    for worker in one._workers._started.values():
        worker.kill()
        worker.wait()


def queued(store: Store, device: str | None = None, kind: str = "train") -> Job:
    return store.submit(kind, "run", {}, device=device)


def test_one_run_on_each_device_the_chosen_one_or_whichever_is_free(store: Store, started: Started) -> None:
    jobs = [queued(store, "cuda:1"), queued(store, "cuda:1"), queued(store), queued(store, kind="suite")]
    looked(store, times=3)
    assert [store.job(job.id).device for job in jobs] == ["cuda:1", None, "cuda:0", None]
    assert [store.job(job.id).state for job in jobs] == ["starting", "queued", "starting", "queued"]
    assert started.words[0][-4:] == ["--device", "cuda:1", "--visible", "GPU-bb"]
    assert run_facts.where(store.job(jobs[0].id)) == "on cuda:1"
    assert run_facts.where(store.job(jobs[1].id)) == "waits for cuda:1"


def test_a_run_whose_worker_has_not_claimed_it_yet_gets_no_second_one(store: Store, started: Started) -> None:
    started.claims = False
    job = queued(store)
    looked(store, times=3)
    assert [(words[0], words[-3]) for words in started.words] == [(str(job.id), "cuda:0")]


def test_another_runner_leaves_the_devices_to_those_who_have_them(store: Store, started: Started) -> None:
    first, second = queued(store, "cuda:0"), queued(store)
    looked(store)
    third = queued(store)
    looked(store)
    assert [store.job(job.id).state for job in (first, second, third)] == ["starting", "starting", "queued"]


def test_a_run_whose_device_is_gone_says_so_and_keeps_nobody_waiting(store: Store, started: Started) -> None:
    lost, next_one = queued(store, "cuda:7"), queued(store)
    looked(store)
    assert store.job(lost.id).state == "paused"
    assert "cuda:7 was chosen for it, and this machine has cuda:0, cuda:1" in store.job(lost.id).why
    assert store.job(next_one.id).device == "cuda:0"


def test_without_named_devices_runs_come_one_after_another_whatever_was_chosen(store: Store) -> None:
    jobs = [queued(store, "cuda:1"), queued(store)]
    assert next_to_start(jobs, []) == [(jobs[0], None)]
    assert next_to_start(jobs, [("suite", None)]) == []
    assert next_to_start(jobs, [("train", "cuda:3")]) == []


def test_a_device_is_chosen_from_the_command_line(store: Store, listed: Callable[..., list[Place]]) -> None:
    listed()
    job, person = queued(store), Terminal(store.files.root)
    assert "waits for cuda:1" in person.run("jobs", "device", str(job.id), "cuda:1").stdout
    assert person.json("jobs", "show", str(job.id))["wanted_device"] == "cuda:1"
    refused = person.run("jobs", "device", str(job.id), "cuda:2")
    assert (refused.returncode, "It has cuda:0, cuda:1." in refused.stderr) == (2, True)
    assert "whichever" in person.run("jobs", "device", str(job.id), "auto").stdout
    assert store.job(job.id).wanted_device is None
