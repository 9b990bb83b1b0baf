"""The drive under a folder: whether it takes anything now, and whether it is another machine's.

Knows nothing about what lies there.
"""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import psutil

# File systems that reach over a network. On them SQLite's write-ahead log is not kept in step between machines.
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afpfs", "webdav", "davfs", "ceph", "glusterfs", "fuse.sshfs"}
READ_ONLY = (
    "The drive of {where} can only be read now, so nothing can be kept there. Make it writable again: systems turn a "
    "drive with errors read-only, so have it checked first."
)


def read_only(folder: Path) -> bool:
    """Whether nothing can be made in the folder because its drive can only be read. Tries it: a drive that was turned
    read-only for its errors may still be listed as writable."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return False
    except OSError as error:
        return error.errno == errno.EROFS


def network_drive(folder: Path) -> str | None:
    """The file system of the folder if it reaches over a network, such as "nfs4"; None if it is this machine's own."""
    inside = [part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)]
    # The innermost mount counts, and of several on one place the last.
    kinds = [part.fstype for part in sorted(inside, key=lambda part: len(Path(part.mountpoint).parts))]
    return kinds[-1] if kinds and kinds[-1].lower() in REMOTE else None
