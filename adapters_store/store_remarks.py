"""What others than its worker say about a job while it is worked on, such as that nothing moves.

A remark stands beside where the job is until it is taken back or the job changes its state. Knows nothing about what is
said, or who finds it out.
"""

from adapters_store.leases import check_token
from adapters_store.shelf import found, settled
from adapters_store.store_line import LineShelf
from adapters_store.tables import Job


class RemarkShelf(LineShelf):
    """The part of the store that is about remarks."""

    def remark(self, job_id: int, token: int, said: str, noted: str, who: str = "runner") -> Job:
        """Say something about the job that is worked on under `token`; "" takes back what was said.

        It is the job's `why` from then on; among the changes in its life stands `noted`. LeaseLost if by now another
        worker has the job, or none.
        """
        with self._database.writing() as session:
            job = found(session, Job, job_id)
            check_token(job, token)
            job.why = said
            self._note(session, job, job.state, who, noted)
            return settled(session, job)
