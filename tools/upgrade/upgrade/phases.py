"""The two stories, a function for each phase. A look that belongs to one of them goes into its function, one that belongs to all
into `looks.py`.

Participants come first and the coordinator last, as the README tells operators, since coordination goes away from it and comes back.
"""

from . import spoils
from .looks import looks_proved, looks_refused, looks_sound
from .programs import NEW, OLD
from .story import DOOR, HAPPENS, Story, Wrong

# Chance decides which of two equal model servers is slower, and nothing here is judged by that.
GATES = {
    "max_error_rate": 0.05,
    "max_error_rate_difference": {"mode": "observe"},
    "max_p95_ms": {"limit": 20000, "mode": "observe"},
    "p95_ratio": {"mode": "observe"},
}
# In progress all the time: more steps than are taken before the last node is replaced, and two operators must approve the last.
LONG_PLAN = {
    "steps": [*({"setWeight": weight} for weight in range(10, 86, 4)), {"setWeight": 100, "approvals": 2}],
    "hold": "2s",
    "minSample": 10,
    "gates": GATES,
}
SHORT_PLAN = {
    "steps": [{"setWeight": weight} for weight in (20, 25, 30, 40, 50, 60, 70, 80, 100)],
    "hold": "1500ms",
    "minSample": 10,
    "gates": GATES,
}
# From the first bad answer until no node serves the canary; on a machine that does nothing else it takes less than a second.
ROLLBACK_SECONDS = 5.0
END_SECONDS = 60.0


async def begin(story: Story, plan: dict):
    """All nodes run 0.1.0; something was decided before; a rollout is started."""
    await story.start_all()
    await story.some_traffic()
    await story.change(OLD, "rollout", "set-weight", "10", "--canary", "v2")
    await story.change(OLD, "rollout", "set-weight", "0")
    await story.change(OLD, "rollout", "start", "v2", "--plan", story.mesh.written(plan))
    await story.step_up()


async def begin_good(story: Story):
    """Begins with the plan that outlasts the upgrade."""
    await begin(story, LONG_PLAN)


async def participants_first(story: Story):
    """Replaces both participants; the rollout goes on after each, and an operator approves its last step."""
    await story.replace("c", NEW)
    await spoils.after_the_first(story)
    await story.step_up()
    # An approval of a step to come is part of the state, which the old program must read when it is back.
    await story.change(NEW, "rollout", "approve")
    await story.step_up()
    await story.replace("b", NEW)
    await story.step_up()


async def back(story: Story):
    """Takes both back to 0.1.0, which reads what the new program has written."""
    for node in ("b", "c"):
        await story.replace(node, OLD)
        await spoils.on_the_way_back(story)
        await story.step_up()


async def all_new(story: Story):
    """Replaces all, the coordinator last."""
    for node in ("c", "b"):
        await story.replace(node, NEW)
        await story.step_up()
    await story.replace("a", NEW, is_last=True)
    await story.step_up()


async def to_the_end(story: Story):
    """Lets the rollout come to its last step, which the second operator approves, and end."""
    await story.until("the step before the last", END_SECONDS, lambda: story.step() == len(LONG_PLAN["steps"]) - 1)
    await story.change(NEW, "rollout", "approve", "--operator", "alice")
    await promoted(story)


async def promoted(story: Story):
    """Waits until every node shows the canary as the stable model, and serves it."""

    def is_promoted() -> bool:
        states = story.traffic.seen.values()
        ended = [state for state in states if (state["rollout"] or {}).get("outcome") == "Promoted"]
        return len(ended) == len(story.mesh.ids) and all(state["stable_model_id"] == "v2" for state in ended)

    await story.until("Promoted at every node", END_SECONDS, is_promoted)
    story.looked(HAPPENS, True, "")
    await story.some_traffic()


async def begin_bad(story: Story):
    """Begins with a plan that ends soon once nothing is bad any more."""
    await begin(story, SHORT_PLAN)


async def bad_at_new(story: Story):
    """Replaces node-c, whose canary turns bad: the new program's word against the old coordinator's figures. Then begins again."""
    await story.replace("c", NEW)
    await story.step_up()
    await rolled_back(story, "c")
    await story.change(OLD, "rollout", "retry")
    await story.step_up()


async def bad_at_old(story: Story):
    """Replaces node-b; the canary turns bad at the coordinator, the last old node. Then begins again."""
    await story.replace("b", NEW)
    await rolled_back(story, "a")
    await story.change(NEW, "rollout", "retry")
    await story.step_up()


async def rolled_back(story: Story, node: str):
    """Lets the canary of one node answer errors while both programs run, until it is gone from every node and that is decided."""
    if not story.mesh.is_mixed():
        raise Wrong(f"both programs were to run: {story.mesh.runs}")
    story.must_progress()
    begin = story.history.now()
    story.turn(node, "bad")

    def is_gone() -> bool:
        states = story.traffic.seen.values()
        ended = all((state["rollout"] or {}).get("outcome") == "RolledBack" for state in states)
        return ended and not any(state["serving"].get("v2") for state in states)

    await story.until("RolledBack, and no canary served, at every node", END_SECONDS / 2, is_gone)
    took = story.history.now() - begin
    story.turn(node, "ok")
    story.rollback_seconds.append(took)
    story.looked(HAPPENS, took <= ROLLBACK_SECONDS, f"the rollback took {took:.1f} s")
    await story.some_traffic()


async def last_and_promoted(story: Story):
    """Replaces node-a; the rollout that was begun again ends well."""
    await story.replace("a", NEW, is_last=True)
    await promoted(story)


async def stop_all(story: Story):
    """Stops all nodes, tries the old program where the others run the new one, and reads what they leave."""
    await story.read_final()
    await story.traffic.stop()
    await story.stop("c")
    await looks_refused(story, "c")
    for node in ("b", "a"):
        await story.stop(node)
    story.marks.look()
    await looks_sound(story)
    await looks_proved(story)
    done = story.mesh.typed(OLD, "store", "check", str(story.mesh.data("a")))
    said = " ".join((done.stdout + done.stderr).split())[-160:]
    story.looked(DOOR, done.returncode != 0, f"the old program reads what node-a leaves: {said}")
    story.notes.append(f"what node-a leaves, read by the old program: store check ends with {done.returncode}: {said}")


GOOD = (
    ("all old, a rollout starts", begin_good),
    ("new: node-c, node-b", participants_first),
    ("back to old: node-b, node-c", back),
    ("new: node-c, node-b, node-a", all_new),
    ("the rollout goes on to its end", to_the_end),
    ("all stop, their data is read", stop_all),
)
BAD = (
    ("all old, a rollout starts", begin_bad),
    ("new: node-c; bad at node-c, the new one", bad_at_new),
    ("new: node-b; bad at node-a, the old one", bad_at_old),
    ("new: node-a; begun again, it ends well", last_and_promoted),
    ("all stop, their data is read", stop_all),
)
STORIES = {"good": GOOD, "bad": BAD}
