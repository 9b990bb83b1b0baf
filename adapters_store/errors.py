"""What can go wrong with the library, each a sentence for a person.

Knows nothing about how the library is kept; it only names the kinds of failure, so that callers can tell them apart.
"""


class StoreError(Exception):
    """The library cannot do what was asked. The message says what happened and what to do next."""


class NotFound(StoreError):
    """Nothing in the library has this id."""


class NameRefused(StoreError):
    """A name that cannot be given: empty, too long or in use."""


class QueueFull(StoreError):
    """So many jobs wait that no other may join them."""


class StoreDamaged(StoreError):
    """The library's file is damaged or gone. Nothing was changed; it can be made anew (`rebuild.py`)."""


class StoreBusy(StoreError):
    """Another program has held the library for longer than the waiting time. Asking again may succeed."""


class LeaseLost(StoreError):
    """The job is no longer held under this token: it ended, or another worker has it. Stop and write nothing."""
