"""Suites in the library: made once, run any number of times; answers are kept as they come, so none is lost.

Knows nothing about models, scores or pages.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert

from adapters_store.errors import NameRefused
from adapters_store.shelf import Shelf, added, checked_name, found, mark_changed, settled, within
from adapters_store.suite_tables import Suite, SuiteAnswer, SuitePrompt, SuiteRun, SuiteVerdict


class SuiteShelf(Shelf):
    """The part of the store that is about suites."""

    def add_suite(
        self,
        name: str,
        prompts: Sequence[tuple[list[dict[str, str]], str | None]],
        *,
        system: str,
        scores: Sequence[str],
        pattern: str,
        source: str,
    ) -> Suite:
        """Keep a suite of prompts, each its messages and its reference. NameRefused if the name is in use."""
        row = Suite(name=checked_name(name), system=system, scores=list(scores), pattern=pattern, source=source)
        row.created_at, row.deleted_at = self.clock(), None
        with self._database.writing() as session:
            taken = select(Suite.id).where(Suite.name == row.name, Suite.deleted_at.is_(None))
            if session.scalar(taken) is not None:
                raise NameRefused(f"There is already a suite called {row.name}. Choose another name.")
            session.add(row)
            session.flush()
            session.add_all(
                SuitePrompt(suite_id=row.id, place=place, messages=messages, reference=reference)
                for place, (messages, reference) in enumerate(prompts)
            )
            mark_changed(session, "suites")
            return settled(session, row)

    def suites(self) -> list[Suite]:
        """All suites that are not deleted, the newest first."""
        with self._database.reading() as session:
            return list(session.scalars(select(Suite).where(Suite.deleted_at.is_(None)).order_by(Suite.id.desc())))

    def suite(self, id: int) -> Suite:
        """The suite with this id, also a deleted one (`deleted_at` says so). NotFound if there never was one."""
        with self._database.reading() as session:
            return found(session, Suite, id)

    def suite_prompts(self, suite_id: int) -> list[SuitePrompt]:
        """The prompts of a suite, in their order."""
        wanted = select(SuitePrompt).where(SuitePrompt.suite_id == suite_id).order_by(SuitePrompt.place)
        with self._database.reading() as session:
            return list(session.scalars(wanted))

    def delete_suite(self, id: int) -> Suite:
        """Take a suite out of the list. Its runs stay. Safe to call twice."""
        return self._set_deleted(id, self.clock())

    def restore_suite(self, id: int) -> Suite:
        """Bring a deleted suite back. Safe to call twice. NameRefused if its name was given again since."""
        suite = self.suite(id)
        if suite.deleted_at is not None and any(one.name.lower() == suite.name.lower() for one in self.suites()):
            raise NameRefused(f"There is another suite called {suite.name} now. Delete that one first.")
        return self._set_deleted(id, None)

    def _set_deleted(self, id: int, at: float | None) -> Suite:
        with self._database.writing() as session:
            row = found(session, Suite, id)
            row.deleted_at = at
            mark_changed(session, "suites")
            return settled(session, row)

    # --- runs -----------------------------------------------------------------------------------------------------

    def add_suite_run(
        self,
        suite_id: int,
        *,
        people: Sequence[Mapping[str, Any]],
        sittings: Sequence[Mapping[str, Any]],
        sampling: Mapping[str, Any],
        judge: Mapping[str, Any] | None = None,
    ) -> SuiteRun:
        """Keep who is to answer a suite, and how; the answers come later. NotFound if there is no such suite."""
        row = SuiteRun(job_id=None, people=list(people), sittings=list(sittings), sampling=dict(sampling), how={})
        row.judge, row.created_at = dict(judge) if judge else None, self.clock()
        with self._database.writing() as session:
            row.suite_id = found(session, Suite, suite_id).id
            mark_changed(session, "suites")
            return added(session, row)

    def note_suite_run(self, id: int, job_id: int, **how: Any) -> SuiteRun:
        """Say which job answers, and what it computes with."""
        with self._database.writing() as session:
            row = found(session, SuiteRun, id)
            row.job_id, row.how = job_id, {**row.how, **how}
            mark_changed(session, "suites")
            return settled(session, row)

    def suite_run(self, id: int) -> SuiteRun:
        """The run with this id. NotFound if there is none."""
        with self._database.reading() as session:
            return found(session, SuiteRun, id)

    def suite_runs(self, suite_id: int, limit: int = 50) -> list[SuiteRun]:
        """The newest runs of a suite."""
        wanted = select(SuiteRun).where(SuiteRun.suite_id == suite_id).order_by(SuiteRun.id.desc())
        with self._database.reading() as session:
            return list(session.scalars(wanted.limit(within(limit))))

    def keep_suite_answers(self, run_id: int, prompt_id: int, answers: Sequence[Mapping[str, Any]]) -> None:
        """Keep what some contestants answered to one prompt, in one go. What was answered there before is replaced.

        `answers` are the other columns of SuiteAnswer.
        """
        adding = insert(SuiteAnswer)
        columns = ("text", "tokens", "finished", "scores", "logprob", "reference_tokens", "problem")
        keeping = adding.on_conflict_do_update(
            index_elements=["run_id", "prompt_id", "place"], set_={name: adding.excluded[name] for name in columns}
        )
        with self._database.writing() as session:
            session.execute(keeping, [{"run_id": run_id, "prompt_id": prompt_id, **answer} for answer in answers])
            mark_changed(session, "suites")

    def suite_answers(self, run_id: int) -> list[SuiteAnswer]:
        """The answers of a run so far, prompt by prompt, in the order of the contestants."""
        wanted = (
            select(SuiteAnswer)
            .join(SuitePrompt, SuitePrompt.id == SuiteAnswer.prompt_id)
            .where(SuiteAnswer.run_id == run_id)
            .order_by(SuitePrompt.place, SuiteAnswer.place)
        )
        with self._database.reading() as session:
            return list(session.scalars(wanted))

    # --- judges ---------------------------------------------------------------------------------------------------

    def set_suite_judge(self, run_id: int, judge: Mapping[str, Any]) -> SuiteRun:
        """Say who is to judge a run. What another one read of it, or the same against somebody else, is forgotten."""
        with self._database.writing() as session:
            row = found(session, SuiteRun, run_id)
            before = row.judge or {}
            if any(before.get(name) != judge[name] for name in ("identity", "against")):
                session.execute(delete(SuiteVerdict).where(SuiteVerdict.run_id == run_id))
            row.judge = dict(judge)
            mark_changed(session, "suites")
            return settled(session, row)

    def keep_suite_verdict(self, run_id: int, prompt_id: int, place: int, **read: Any) -> None:
        """Keep what the judge of a run read of one answer: `forward`, `backward` and `problem` of SuiteVerdict."""
        new = insert(SuiteVerdict).values(run_id=run_id, prompt_id=prompt_id, place=place, **read)
        keeping = new.on_conflict_do_update(index_elements=["run_id", "prompt_id", "place"], set_=read)
        with self._database.writing() as session:
            session.execute(keeping)
            mark_changed(session, "suites")

    def suite_verdicts(self, run_id: int) -> list[SuiteVerdict]:
        """What the judge of a run read so far."""
        wanted = select(SuiteVerdict).where(SuiteVerdict.run_id == run_id).order_by(SuiteVerdict.id)
        with self._database.reading() as session:
            return list(session.scalars(wanted))
