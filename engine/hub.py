"""A model on a hub: what it consists of, whether it can serve here, and the files of it that are wanted.

Everything that speaks against a model is said at once, from the list of its files and from its small files, before any
weight is fetched. Only data is ever asked for: safetensors, settings, tokenizer; never pickles, never code. A branch
or tag is resolved to a commit first, and every file is that commit's. How bytes travel is in `download.py`.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from engine import tokenizer_config
from engine.download import Hub, HubError, Refused, RemoteFile
from engine.hub_id import HubId
from engine.json_file import read_object

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")  # any of these is the tokenizer itself
SMALL = (
    "config.json",
    "generation_config.json",
    *TOKENIZERS,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
    "chat_template.json",
)
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
LARGEST_SMALL = 200_000_000  # bytes of a file of settings or of a tokenizer
SPARE_BYTES = 200_000_000  # the library needs room beside a new model
ABSENT, UNAUTHORISED, FORBIDDEN = 404, 401, 403  # HTTP status
BRING_A_TOKEN = "Set the environment variable HF_TOKEN to your access token and start LoRA Studio again."  # noqa: S105

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PLAIN = re.compile(r"\w[\w.-]{0,199}", re.ASCII)

Progress = Callable[[str, int, int], None]  # (what is going on, bytes done, bytes in all)
Judge = Callable[[dict[str, Any]], list[str]]  # config.json -> what speaks against the model


@dataclass(frozen=True)
class Listing:
    """A model at one commit, and its files by name."""

    wanted: HubId
    commit: str
    files: dict[str, RemoteFile]

    def path(self, name: str) -> str:
        """Where the hub keeps the file."""
        return f"{self.wanted.id}/resolve/{self.commit}/{name}"

    @property
    def small(self) -> list[RemoteFile]:
        """Settings and tokenizer, and the index of the weights if there is one."""
        return [self.files[name] for name in (*SMALL, INDEX) if name in self.files]


def look_up(hub: Hub, wanted: HubId) -> Listing:
    """Find the model, its commit and its files.

    Raises:
        HubError: no such model or revision, no right to it, no connection.
    """
    try:
        facts = hub.facts(f"api/models/{wanted.id}/revision/{quote(wanted.revision, safe='')}?blobs=true")
    except Refused as refused:
        raise HubError([refusal(hub, wanted, refused)]) from None
    try:
        commit = str(facts["sha"])
        files = {file.name: file for file in map(listed, facts["siblings"]) if _PLAIN.fullmatch(file.name)}
    except (KeyError, TypeError, ValueError) as error:
        raise HubError([f"{hub.host} did not answer as a model hub does. Check HF_ENDPOINT."]) from error
    check_commit(hub, wanted, commit)
    return Listing(wanted, commit, files)


def check_commit(hub: Hub, wanted: HubId, commit: str) -> None:
    """HubError unless `commit` is one: what was listed is fetched at that commit alone."""
    if not _COMMIT.fullmatch(commit):
        raise HubError([f"{hub.host} did not say which commit {wanted.id} is at. Check HF_ENDPOINT."])


def fetch(hub: Hub, listing: Listing, into: Path, judge: Judge, progress: Progress) -> list[Path]:
    """Bring the model's files into `into`, an existing folder in which an earlier try may have left some.

    Args:
        hub: the connection.
        listing: from `look_up`.
        into: on the disk where the model is to stay.
        judge: what speaks against a model with this config.json.
        progress: called with the stage, the bytes here and the bytes in all.

    Returns:
        The files, all whole, each with the hash that the commit has for it.

    Raises:
        HubError: with everything that speaks against the model, before any weight is fetched; or why it broke off.
    """
    problems = list(_missing(listing))
    if huge := list(_huge(listing, listing.small)):
        raise HubError([*problems, *huge])
    weights: list[RemoteFile] = []
    try:
        _bring(hub, listing, listing.small, into, lambda _: progress("Looking at the model", 0, 0))
    except Refused as refused:
        problems.append(refusal(hub, listing.wanted, refused))
    else:
        problems += _unfit(listing, into, judge)
        weights, broken = _weights(listing, into)
        problems += broken
    problems += _no_room(weights, into)
    if problems:
        raise HubError(problems)
    files = [*listing.small, *weights]
    whole = sum(file.size for file in files)
    try:
        _bring(hub, listing, files, into, lambda done: progress("Downloading", done, whole))
    except Refused as refused:
        raise HubError([refusal(hub, listing.wanted, refused)]) from None
    return [into / file.name for file in files]


def fetch_config(hub: Hub, listing: Listing, into: Path) -> None:
    """Bring config.json alone, which says how large a model is and how it is built.

    Raises:
        HubError: there is none, or it cannot be had.
    """
    if "config.json" not in listing.files:
        raise HubError(list(_missing(listing))[:1])
    if huge := list(_huge(listing, [listing.files["config.json"]])):
        raise HubError(huge)
    try:
        _bring(hub, listing, [listing.files["config.json"]], into, lambda _: None)
    except Refused as refused:
        raise HubError([refusal(hub, listing.wanted, refused)]) from None


def _bring(hub: Hub, listing: Listing, files: list[RemoteFile], into: Path, arrived: Callable[[int], None]) -> None:
    for number, file in enumerate(files):
        before = sum(earlier.size for earlier in files[:number])
        hub.fetch(listing.path(file.name), file, into, partial(_add, arrived, before))


def _add(arrived: Callable[[int], None], before: int, here: int) -> None:
    arrived(before + here)


def listed(file: dict[str, Any]) -> RemoteFile:
    """A file as the hub's facts have it. KeyError, TypeError or ValueError for what is none."""
    large = file.get("lfs") or {}
    sha256 = str(large.get("sha256") or large.get("oid") or "")
    size = int(large.get("size") or file.get("size") or 0)
    return RemoteFile(str(file["rfilename"]), size, sha256, "" if sha256 else str(file.get("blobId") or ""))


# --- what speaks against it ---------------------------------------------------------------------------------------


def _missing(listing: Listing) -> Iterator[str]:
    """What the names of the files say."""
    called, names = listing.wanted.id, set(listing.files)
    if "config.json" not in names:
        if "adapter_config.json" in names:
            yield f"{called} is an adapter, not a base model. Add the base model it was trained on."
        elif any(name.endswith(".gguf") for name in names):
            yield f"{called} holds GGUF files. Download one of them, and add it by its path."
        else:
            yield f"{called} has no config.json, so it is not a model in transformers' format."
    if not names & {WEIGHTS, INDEX}:
        yield _no_weights(called, names)
    if not names & set(TOKENIZERS):
        yield f"{called} has no tokenizer ({', '.join(TOKENIZERS)}). Look for a version of it that brings one."


def _no_weights(called: str, names: set[str]) -> str:
    other = sorted(name for name in names if name.endswith(".safetensors"))
    if other:
        return f"{called} has its weights in {other[0]}, where transformers does not look: it reads {WEIGHTS}."
    old = sorted(name for name in names if name.endswith(PICKLES))
    if old:
        return (
            f"{called} has its weights only in {old[0]}, a format that can run code. "
            "Look for a version of it in safetensors, or convert it."
        )
    return f"{called} has no weights: there is no {WEIGHTS}."


def _huge(listing: Listing, files: list[RemoteFile]) -> Iterator[str]:
    for file in files:
        if file.size > LARGEST_SMALL:
            yield (
                f"{file.name} of {listing.wanted.id} has {file.size / 1e6:,.0f} MB, and at most "
                f"{LARGEST_SMALL / 1e6:,.0f} MB are believed of such a file. Nothing was fetched."
            )


def _unfit(listing: Listing, into: Path, judge: Judge) -> Iterator[str]:
    """What the small files say."""
    called = listing.wanted.id
    if "config.json" in listing.files:
        config = read_object(into / "config.json")
        if config is None:
            yield f"config.json of {called} is not a JSON object."
        else:
            yield from judge(config)
    if tokenizer_config.NAME in listing.files:
        yield from tokenizer_config.problems_in(into, called)


def _weights(listing: Listing, into: Path) -> tuple[list[RemoteFile], list[str]]:
    """The files with the weights, and what is wrong with them."""
    if INDEX not in listing.files:
        alone = [listing.files[WEIGHTS]] if WEIGHTS in listing.files else []
        return alone, list(_unhashed(listing, alone))
    places = (read_object(into / INDEX) or {}).get("weight_map")
    if not isinstance(places, dict) or not places:
        return [], [f"{INDEX} of {listing.wanted.id} does not say where the weights are."]
    names = sorted({str(name) for name in places.values()})
    wrong = [name for name in names if name not in listing.files or not name.endswith(".safetensors")]
    if wrong:
        return [], [f"{INDEX} of {listing.wanted.id} names {wrong[0]!r}, which is not there as a safetensors file."]
    shards = [listing.files[name] for name in names]
    return shards, list(_unhashed(listing, shards))


def _unhashed(listing: Listing, weights: list[RemoteFile]) -> Iterator[str]:
    bare = [file.name for file in weights if not (file.sha256 or file.blob)]
    if bare:
        called = listing.wanted.id
        yield f"The hub lists no hash of {bare[0]} of {called}, so nobody could tell if it arrived whole."


def _no_room(weights: list[RemoteFile], into: Path) -> Iterator[str]:
    here = sum(path.stat().st_size for path in into.iterdir())
    needed = sum(file.size for file in weights) - here + SPARE_BYTES
    free = shutil.disk_usage(into).free
    if weights and needed > free:
        yield f"The disk has {free / 1e9:.1f} GB free, and this model wants {needed / 1e9:.1f} GB. Free some space."


def refusal(hub: Hub, wanted: HubId, refused: Refused, kind: str = "model", below: str = "") -> str:
    """What the hub's answer means for the person, and what to do.

    Args:
        kind: what was asked for, in words; `below` stands before its name in the address of its page.
    """
    called, code, page = wanted.id, refused.code, f"{hub.endpoint}/{below}{wanted.id}"
    denied = refused.status in (UNAUTHORISED, FORBIDDEN)
    if code == "GatedRepo" and hub.has_token:
        return f"{called} is gated, and HF_TOKEN does not open it. Accept its terms at {page} with the same account."
    if code == "GatedRepo":
        return f"{called} is gated. Accept its terms at {page}. {BRING_A_TOKEN}"
    if code == "RevisionNotFound":
        return f"{called} has no revision {wanted.revision}. See {page} for its branches and tags."
    if code == "EntryNotFound":
        return f"{called} has changed on the hub meanwhile: a listed file is gone. Retry."
    if denied and hub.has_token and code != "RepoNotFound":
        return (
            f"{hub.host} does not accept HF_TOKEN for {called} (HTTP {refused.status}). Make a token that may read it."
        )
    if (denied or refused.status == ABSENT) and hub.has_token:
        return f"{hub.host} has no {kind} {called}, or HF_TOKEN may not see it. Check the spelling."
    if denied or refused.status == ABSENT:
        told = f"{hub.host} has no {kind} {called}, or a private one. Check the spelling."
        return f"{told} If it is private: {BRING_A_TOKEN}"
    return str(refused)
