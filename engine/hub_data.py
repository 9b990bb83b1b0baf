"""A data set on a hub: which subsets and splits it has, and the files of one of them.

What a subset consists of is what its card says (`configs`), or else follows from the names of files and folders. Only
files of data are ever asked for; a data set that is made by a script of its own is refused, since that is code. A
branch or tag is resolved to a commit first, and every file is that commit's, checked by the hash it is listed with. How
bytes travel is in `download.py`; how the files are read, in `engine.data`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from engine.download import Hub, HubError, Refused, RemoteFile
from engine.hub import SPARE_BYTES, check_commit, listed, refusal
from engine.hub_id import HubId

BELOW = "datasets/"  # where the hub keeps data sets
KINDS = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")
NO_ROWS = ("dataset_infos.json", "dataset_dict.json", "dataset_info.json", "state.json", "requirements.txt")
CONVERTED = "refs/convert/parquet"  # the branch on which a hub keeps Parquet files that it has made by itself
WHOLE = "default"  # the subset of a data set that has no others
SPLITS = {  # a word in the name of a file or a folder, and the split it stands for
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}
TIMES = 3  # as much room as the files take: the rows are written beside them, and Parquet is packed
LONGEST_PATTERN, MOST_STARS = 300, 6  # of a pattern that names files; beyond that it is not believed

_SAFE = re.compile(r"[^\x00-\x1f\\]{1,400}")
Progress = Callable[[str, int, int], None]  # (what is going on, bytes done, bytes in all)


@dataclass(frozen=True)
class Part:
    """One split of one subset, and its files."""

    subset: str
    split: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class DataListing:
    """A data set at one commit, and what it consists of, in the order of its card."""

    wanted: HubId
    commit: str
    parts: tuple[Part, ...]

    def part(self, subset: str = "", split: str = "") -> Part:
        """The one part that is meant; what is left out is found out where there is only one.

        Raises:
            HubError: it is none, or one of several; the sentence says which there are.
        """
        subsets = list(dict.fromkeys(part.subset for part in self.parts))
        of_subset = [part for part in self.parts if part.subset == (subset or subsets[0])]
        if (subset and not of_subset) or (not subset and len(subsets) > 1):
            raise HubError([_choose(self.wanted.id, "subset", subset, subsets)])
        splits = [part.split for part in of_subset]
        if (split and split not in splits) or (not split and len(splits) > 1):
            raise HubError([_choose(self.wanted.id, "split", split, splits)])
        return next(part for part in of_subset if part.split == (split or splits[0]))


def look_up(hub: Hub, wanted: HubId) -> DataListing:
    """Find the data set, its commit and its parts.

    Raises:
        HubError: no such data set or revision, no right to it, no connection; or nothing in it can be read.
    """
    try:
        facts = hub.facts(f"api/{BELOW}{wanted.id}/revision/{quote(wanted.revision, safe='')}?blobs=true")
    except Refused as refused:
        raise HubError([refusal(hub, wanted, refused, "data set", BELOW)]) from None
    try:
        commit, files = str(facts["sha"]), [listed(file) for file in facts["siblings"]]
        card = facts.get("cardData") or {}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HubError([f"{hub.host} did not answer as a hub does. Check HF_ENDPOINT."]) from error
    check_commit(hub, wanted, commit)
    configs = card.get("configs") if isinstance(card, Mapping) else None
    return DataListing(wanted, commit, _parts(wanted, files, configs))


def fetch(hub: Hub, listing: DataListing, part: Part, into: Path, progress: Progress) -> Path:
    """Bring the files of a part into `into`, an existing folder in which an earlier try may have left some.

    Args:
        progress: called with the stage, the bytes here and the bytes in all.

    Returns:
        The one file, or the folder, which holds nothing else then.

    Raises:
        HubError: no room, a file without a hash, or why it broke off.
    """
    bare = [file.name for file in part.files if not (file.sha256 or file.blob)]
    problems = [f"The hub lists no hash of {name}, so nobody could tell if it arrived whole." for name in bare[:1]]
    here = sum(path.stat().st_size for path in into.iterdir())
    needed, free = TIMES * part.size - here + SPARE_BYTES, shutil.disk_usage(into).free
    if needed > free:
        told = f"The disk has {free / 1e9:.1f} GB free, and this data set wants {needed / 1e9:.1f} GB."
        problems.append(f"{told} Free some space.")
    if problems:
        raise HubError(problems)
    files = [replace(file, name=_local(number, file.name)) for number, file in enumerate(part.files)]
    try:
        for number, (file, remote) in enumerate(zip(files, part.files, strict=True)):
            before = sum(earlier.size for earlier in files[:number])
            address = f"{BELOW}{listing.wanted.id}/resolve/{listing.commit}/{quote(remote.name)}"
            hub.fetch(address, file, into, partial(_add, progress, before, part.size))
    except Refused as refused:
        raise HubError([refusal(hub, listing.wanted, refused, "data set", BELOW)]) from None
    return into / files[0].name if len(files) == 1 else into


def _add(progress: Progress, before: int, whole: int, here: int) -> None:
    progress("Downloading", before + here, whole)


def _local(number: int, name: str) -> str:
    """What a file is called here: in the order of the hub, and without folders."""
    return f"{number:05d}-{re.sub(r'[^A-Za-z0-9.-]', '_', PurePosixPath(name).name)[-150:]}"


def _choose(called: str, what: str, given: str, there: list[str]) -> str:
    shown = ", ".join(there[:40]) + (f" and {len(there) - 40} more" if len(there) > 40 else "")
    return f"{called} has {f'no {what} {given}' if given else f'several {what}s'}. Choose the {what}: {shown}."


# --- what it consists of ------------------------------------------------------------------------------------------


def _parts(wanted: HubId, files: list[RemoteFile], configs: Any) -> tuple[Part, ...]:
    """The parts that have files. HubError if there is none, with the reason."""
    data = [file for file in files if _is_data(file.name)]
    if isinstance(configs, list) and configs:
        parts = [part for config in configs if isinstance(config, Mapping) for part in _of_card(config, data)]
    else:
        if script := next((file.name for file in files if file.name == f"{wanted.name}.py"), None):
            raise HubError([_made_by(wanted, script)])
        parts = list(_of_names(data))
    found = tuple(part for part in parts if part.files)
    if not found:
        raise HubError([_nothing(wanted, files)])
    return found


def _is_data(name: str) -> bool:
    path = PurePosixPath(name)
    bare = path.name.removesuffix(".gz")
    inside = _SAFE.fullmatch(name) and not path.is_absolute() and not any(p.startswith(".") for p in path.parts)
    return bool(inside) and bare.lower().endswith(KINDS) and bare not in NO_ROWS


def _of_card(config: Mapping[str, Any], data: list[RemoteFile]) -> Iterator[Part]:
    """The parts of one subset as the card of the data set has it."""
    subset = str(config.get("config_name") or WHOLE)
    folder = str(config.get("data_dir") or "").strip("/")
    inside = [file for file in data if not folder or file.name.startswith(f"{folder}/")]
    given = config.get("data_files")
    if given is None:
        yield from (replace(part, subset=subset) for part in _of_names(inside, deep=False))
        return
    for split, patterns in _patterns(given):
        tests = [_test(f"{folder}/{pattern}" if folder else pattern) for pattern in patterns]
        yield Part(subset, split, tuple(file for file in inside if any(test.fullmatch(file.name) for test in tests)))


def _patterns(given: Any) -> Iterator[tuple[str, list[str]]]:
    """Splits and the patterns of their files, in any of the forms that a card can have."""
    if isinstance(given, Mapping):
        yield from ((str(split), _texts(paths)) for split, paths in given.items())
    elif isinstance(given, list) and any(isinstance(one, Mapping) for one in given):
        for one in given:
            if isinstance(one, Mapping):
                yield str(one.get("split") or "train"), _texts(one.get("path"))
    else:
        yield "train", _texts(given)


def _texts(given: Any) -> list[str]:
    return [str(one) for one in (given if isinstance(given, list) else [given]) if one]


def _test(pattern: str) -> re.Pattern[str]:
    """What a pattern of file names means: * stays inside of a folder, ** does not."""
    if len(pattern) > LONGEST_PATTERN or pattern.count("*") > MOST_STARS:
        return re.compile(r"(?!)")
    means = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.removeprefix("./"))
    return re.compile("".join(means.get(piece, re.escape(piece)) for piece in pieces))


def _of_names(data: list[RemoteFile], deep: bool = True) -> Iterator[Part]:
    """Parts as the names of files and folders tell them: `subset/split/file` with `deep`, or a split in a name."""
    found: dict[tuple[str, str], list[RemoteFile]] = {}
    for file in data:
        folders, name = PurePosixPath(file.name).parts[:-1], PurePosixPath(file.name).name
        named = _split_in(folders[-1]) if folders else None
        subset = folders[-2] if deep and named and len(folders) > 1 else WHOLE
        split = named or _split_in(name) or "train"
        found.setdefault((subset, split), []).append(file)
    for (subset, split), files in found.items():
        yield Part(subset, split, tuple(files))


def _split_in(name: str) -> str | None:
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), None)


def _made_by(wanted: HubId, script: str) -> str:
    return (
        f"{wanted.id} is made by a script of its own, {script}, and LoRA Studio runs no code of a data set. "
        f"Where the hub has converted it, {wanted.id}@{CONVERTED} is the same as plain files."
    )


def _nothing(wanted: HubId, files: list[RemoteFile]) -> str:
    kinds = sorted({PurePosixPath(file.name).suffix for file in files if not file.name.startswith(".")} - {"", ".md"})
    there = f" There are {', '.join(kinds[:8])}." if kinds else ""
    return (
        f"{wanted.id} has no files that can be read: Parquet, JSON, JSONL, CSV, TSV or text, also gzipped.{there} "
        f"Where the hub has converted it, {wanted.id}@{CONVERTED} may."
    )
