"""Rows as tokens, kept between runs: a run on the same rows with the same tokenizer starts without tokenising.

What is kept is named by all that tokens follow from: the rows' hash, the tokenizer with its chat template, and the
settings that say how rows are cut and what is learned. It lies in the data folder under cache/tokens, is bounded in
size (what was asked for longest ago goes first), and goes when its data set does. Whatever is damaged or cannot be
written is made anew, so nothing here ends a run. Knows nothing about what a token means.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from adapters_store import manifest
from adapters_store.store import Store
from adapters_store.tables import DataSet
from engine.data import tokens
from engine.data.render import Marked
from engine.data.tokens import TokenRows

log = logging.getLogger(__name__)

VERSION = 2  # of the way rows become tokens: raised when that changes
MOST_BYTES = 4_000_000_000
SPARE_BYTES = 2_000_000_000  # what stays free on the disk
_DAYS = "strftime_now"  # a template that writes the date gives other tokens tomorrow


class KeptTokens:
    """The tokens that are kept in one data folder."""

    def __init__(self, store: Store, most_bytes: int = MOST_BYTES) -> None:
        self._store, self._most = store, most_bytes
        self._root = store.files.root / "cache" / "tokens"

    def rows(
        self, data: DataSet, tokenizer: Any, how: Mapping[str, Any], make: Callable[[], Iterable[Marked]]
    ) -> TokenRows:
        """The rows of a data set as tokens: those that are kept, or else those that `make` gives, which are kept.

        Args:
            how: the settings that tokens depend on.
            make: gives the rows one by one; what it raises is passed on.
        """
        name = _name(data, tokenizer, how)
        if name is None:
            return tokens.store(make(), self._store.files.temporary)
        kept = self._found(name)
        if kept is None:
            kept = self._made(name, make)
        self.tidy()
        return kept

    def tidy(self) -> None:
        """Remove what belongs to no data set any more, and what goes beyond the bound, the longest unasked first."""
        owners = {_owner(data) for data in self._store.data_sets()}
        sizes = {folder: _size(folder) for folder in sorted(self._folders(), key=_asked_at)}
        for folder, size in sizes.items():
            owned = folder.name.partition("-")[0] in owners
            if not owned or sum(sizes.values()) > self._most or shutil.disk_usage(folder).free < SPARE_BYTES:
                shutil.rmtree(folder, ignore_errors=True)
                sizes[folder] -= size

    def _folders(self) -> list[Path]:
        return [folder for folder in self._root.iterdir() if folder.is_dir()] if self._root.is_dir() else []

    def _found(self, name: str) -> TokenRows | None:
        folder = self._root / name
        if not folder.is_dir():
            return None
        problems = manifest.differences(folder)
        if not problems:
            os.utime(folder)
            return tokens.opened(folder)
        log.warning("kept tokens are damaged and made anew: %s", " ".join(problems))
        shutil.rmtree(folder, ignore_errors=True)
        return None

    def _made(self, name: str, make: Callable[[], Iterable[Marked]]) -> TokenRows:
        draft = self._store.files.unfinished(f"tokens {name}")
        try:
            tokens.save(make(), draft)
            manifest.seal(draft)
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.rename(self._root / name)
            return tokens.opened(self._root / name)
        except OSError as error:
            log.warning("tokens cannot be kept: %s", error)
            return tokens.store(make(), self._store.files.temporary)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _name(data: DataSet, tokenizer: Any, how: Mapping[str, Any]) -> str | None:
    """What tokens are kept under; None where they do not follow from what is known here."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or _DAYS in str(tokenizer.chat_template):
        return None
    backend.no_truncation()
    backend.no_padding()
    import tokenizers
    import transformers

    known = {
        "version": [VERSION, tokenizers.__version__, transformers.__version__],
        "rows": [data.content_hash, data.format],
        "tokenizer": [type(tokenizer).__name__, hashlib.sha256(backend.to_str().encode()).hexdigest()],
        "template": str(tokenizer.chat_template),
        "end": tokenizer.eos_token_id,
        "how": dict(how),
    }
    return f"{_owner(data)}-{hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]}"


def _owner(data: DataSet) -> str:
    return data.content_hash[:32]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _asked_at(folder: Path) -> float:
    return folder.stat().st_mtime
