"""Pinned checkpoints: a person keeps what a run had learned at a step, for as long as they like.

A pinned checkpoint is let go by nothing but its unpinning; then it is one like all others again. Knows nothing about
what is in a checkpoint, or who answers with it.
"""

from adapters_store.errors import NotFound
from adapters_store.shelf import found, mark_changed
from adapters_store.states import FINAL
from adapters_store.store_checkpoints import let_go_of_old
from adapters_store.store_line import LineShelf
from adapters_store.tables import Checkpoint, Job


class PinShelf(LineShelf):
    """The part of the store that is about pinned checkpoints."""

    def pin_checkpoint(self, id: int, pinned: bool, who: str = "person") -> bool:
        """Pin a checkpoint, or unpin it; whether it is still there.

        One that is unpinned goes at once, unless it is among the last of a run that has not ended. NotFound, in words,
        for one that is gone.
        """
        with self._database.writing() as session:
            row = session.get(Checkpoint, id) if id < 2**63 else None
            if row is None:
                raise NotFound("This checkpoint is gone: its run has written newer ones, or has ended. Choose another.")
            if row.pinned == pinned:
                return True
            job, row.pinned, step = found(session, Job, row.job_id), pinned, row.step
            session.flush()
            word = "pinned" if pinned else "unpinned"
            self._note(session, job, job.state, who, f"{word} the checkpoint of step {step}")
            mark_changed(session, "jobs")
            free = [] if pinned else let_go_of_old(session, job.id, ended=job.state in FINAL)
            folder = row.folder
        self._discard(free)
        return folder not in free
