"""What operators do: cancel, pause, resume, rerun and repair; limits. Each is one call, told in the history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal
from uuid import UUID

from tasker_host.db.database import Database
from tasker_host.db.listen import ENDED, STOP, work
from tasker_host.db.operate import (
    Operated,
    StepAction,
    TaskAction,
    limit_pause,
    limit_set,
    step_template,
    steps_operate,
    tasks_operate,
)
from tasker_host.db.sqlfiles import query
from tasker_host.domain.json import dumps
from tasker_host.domain.limits import key_problems, limit_problems
from tasker_host.domain.suggest import did_you_mean
from tasker_host.errors import IllegalMove, InvalidRequest, Problem, RequestError, StepNotFound, TaskNotFound
from tasker_host.orchestration.byhand import by_hand

Ring = Callable[[list[str]], None]

ACTOR = "operator"
"""Who acted, when nobody says."""


class Operations:
    """Operator actions on one database; `ring` tells workers (channels of `db.listen`).

    Every method takes who does it (`actor`) and why (`reason`), which the history keeps.
    """

    def __init__(self, database: Database, ring: Ring) -> None:
        self._database = database
        self._ring = ring

    # Tasks ------------------------------------------------------------------------------------------------------------

    async def cancel(
        self, task: UUID, *, reason: str, actor: str = ACTOR, running: Literal["finish", "interrupt"] = "finish"
    ) -> None:
        """Nothing of the task starts any more. Running steps end on their own and what they come to is kept, or, with
        `running="interrupt"`, they are stopped. Raises TaskNotFound, and IllegalMove when it is over."""
        await self._task("cancel", task, actor, reason, {"running": running})
        self._ring([ENDED, STOP] if running == "interrupt" else [ENDED])

    async def pause(self, task: UUID, *, reason: str, actor: str = ACTOR) -> None:
        """Running steps end, nothing new starts until `resume`. Raises TaskNotFound, IllegalMove."""
        await self._task("pause", task, actor, reason)

    async def resume(self, task: UUID, *, reason: str, actor: str = ACTOR) -> None:
        """What came to its end meanwhile counts, and the task goes on. Raises TaskNotFound, IllegalMove."""
        await self._task("resume", task, actor, reason)
        self._ring([ENDED])

    async def resolve(self, task: UUID, *, reason: str, actor: str = ACTOR) -> None:
        """The task is settled by hand: it ends as resolved_manually. Raises TaskNotFound, IllegalMove."""
        await self._task("resolve_manually", task, actor, reason)
        self._ring([ENDED, STOP])

    async def rerun(
        self, task: UUID, *, reason: str, actor: str = ACTOR, from_steps: Sequence[str] | None = None
    ) -> None:
        """These steps and all below them begin anew, with the values of earlier ones; without names, all its steps in
        error or cancelled. Raises TaskNotFound, InvalidRequest for a name it has not, and IllegalMove while it runs."""
        options: dict[str, Any] = {} if from_steps is None else {"from": list(from_steps)}
        try:
            await self._task("rerun", task, actor, reason, options)
        except InvalidRequest as refused:
            raise InvalidRequest(str(refused), await self._unknown(task, from_steps or ())) from None

    async def _unknown(self, task: UUID, names: Sequence[str]) -> list[Problem]:
        there = [row[0] for row in await self._database.fetch(query("step_names"), task)]
        return [
            Problem("from", f"the task has no step named {name!r}{did_you_mean(name, there)}")
            for name in names
            if name not in there
        ]

    async def _task(
        self, action: TaskAction, task: UUID, actor: str, reason: str, options: dict[str, Any] | None = None
    ) -> None:
        (done,) = await tasks_operate(self._database, action, [task], actor=actor, reason=reason, options=options)
        if done.refused is not None:
            raise _task_refusal(action, task, done, options or {})
        self._ring([work(namespace) for namespace in done.work_for])

    # Steps ------------------------------------------------------------------------------------------------------------

    async def reset_step(self, step: UUID, *, reason: str, actor: str = ACTOR) -> None:
        """A step in error is tried again, its attempts counted anew. Raises StepNotFound, IllegalMove."""
        await self._step("reset_for_retry", step, actor, reason)

    async def resolve_step(self, step: UUID, *, reason: str, actor: str = ACTOR) -> None:
        """The step counts as done, without a value; of a decision or an analyzer nothing is made. Raises StepNotFound,
        IllegalMove."""
        await self._step("resolve_manually", step, actor, reason)

    async def complete_step(self, step: UUID, value: Any, *, reason: str, actor: str = ACTOR) -> None:
        """The step is complete with `value`, as if its handler had returned it, also of a decision or an analyzer.

        Raises StepNotFound, IllegalMove, InvalidRequest for steps it cannot make, and JsonError for a value that has
        no JSON form.
        """
        await self._step("complete_manually", step, actor, reason, dumps(value))

    async def _step(self, action: StepAction, step: UUID, actor: str, reason: str, value: str | None = None) -> None:
        expand = None
        if action != "reset_for_retry" and (found := await step_template(self._database, step)) is not None:
            expand, value = by_hand(*found, value)
        (done,) = await steps_operate(
            self._database, action, [step], actor=actor, reason=reason, value=value, expand=expand
        )
        if done.refused is not None:
            raise _step_refusal(action, step, done)
        self._ring([ENDED, STOP, *(work(namespace) for namespace in done.work_for)])

    # Limits -----------------------------------------------------------------------------------------------------------

    async def limit(
        self,
        key: str,
        *,
        reason: str,
        actor: str = ACTOR,
        max_running: int | None = None,
        per_second: float | None = None,
        burst: int | None = None,
        paused: bool | None = False,
    ) -> None:
        """Set what `key` (`namespace:{name}`, `handler:{callable}`, `key:{namespace}:{value}`) allows, at once and for
        every host; `paused` None: as it is. With nothing given the limit is removed. Raises InvalidRequest."""
        problems = key_problems(key) + limit_problems(max_running, per_second, burst)
        if problems:
            raise InvalidRequest("the limit is not valid", problems)
        namespaces = await limit_set(
            self._database,
            key,
            max_running=max_running,
            per_second=per_second,
            burst=burst,
            paused=paused,
            actor=actor,
            reason=reason,
        )
        self._ring([work(namespace) for namespace in namespaces])

    async def pause_key(self, key: str, *, paused: bool, reason: str, actor: str = ACTOR) -> None:
        """Pause or resume a namespace or handler; what else its limit says stays. Raises InvalidRequest."""
        if problems := key_problems(key):
            raise InvalidRequest("the limit is not valid", problems)
        namespaces = await limit_pause(self._database, key, paused=paused, actor=actor, reason=reason)
        self._ring([work(namespace) for namespace in namespaces])


def _task_refusal(action: str, task: UUID, done: Operated, options: dict[str, Any]) -> RequestError:
    match done.refused:
        case "not_found":
            return TaskNotFound(f"no task {task}")
        case "no_such_step":
            named = options.get("from")
            if named is None:
                return IllegalMove(f"task {task} has no step in error or cancelled: name the steps to run again")
            return InvalidRequest(f"task {task} cannot be run again from there")
        case "running":
            return IllegalMove(
                f"steps of task {task} that would run again still run or wait: let them end, or cancel it first"
            )
        case _:
            what = action.removesuffix("_manually")
            return IllegalMove(f"task {task} is {done.from_state}: it cannot be {_PARTICIPLES.get(what, what)}")


def _step_refusal(action: str, step: UUID, done: Operated) -> RequestError:
    match done.refused:
        case "not_found":
            return StepNotFound(f"no step {step}")
        case "task_over":
            return IllegalMove(f"the task of step {step} is over; run it again from that step instead")
        case "decided":
            return IllegalMove(
                f"step {step} is {done.from_state}, and what it chose is made:"
                " run the task again from it to choose anew"
            )
        case _:
            return IllegalMove(f"step {step} is {done.from_state}: {action} is for a step in error")


_PARTICIPLES = {
    "cancel": "cancelled",
    "pause": "paused",
    "resume": "resumed",
    "resolve": "resolved",
    "rerun": "run again",
}
