"""The course of a run is the same after it was written down as JSON and read again."""

import json
from typing import Any, cast

import pytest
import torch

from engine.methods.fitted import Fitted
from engine.train import StepReport
from jobs.course import Course, Kept


class Fixed:
    """In place of what is trained: one tensor."""

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"a": torch.ones(2)}


def report(step: int, loss: float | None, validation_loss: float | None) -> StepReport:
    return StepReport(step, 9, loss, validation_loss, 1e-4, 1.0, 10 * step, 100.0, 0.1 * step)


REPORTS = [report(0, None, 3.3), report(1, 3.1, None), report(2, 0.1 + 0.2, 2.9), report(3, 2.7, 3.05)]


def course_of(reports: list[StepReport]) -> Course:
    course = Course(goes_on=True)
    for one in reports:
        course.take(one, cast(Fitted, Fixed()))
    return course


def plain(course: Course) -> dict[str, Any]:
    return {**vars(course), "best": vars(course.best) if course.best else None}


@pytest.mark.parametrize("done", range(len(REPORTS) + 1))
def test_a_course_that_was_written_down_goes_on_as_if_it_had_not_been(done: int) -> None:
    course = course_of(REPORTS[:done])
    kept = course.best.tensors if course.best else {}
    again = Course.from_notes(json.loads(json.dumps(course.noted())), kept)
    assert plain(again) == plain(course)
    for one in REPORTS[done:]:
        again.take(one, cast(Fitted, Fixed()))
    whole = course_of(REPORTS)
    assert again.noted() == whole.noted()
    assert isinstance(again.best, Kept)
    assert (again.best.step, again.best.validation_loss, again.loss) == (2, 2.9, 2.7)
