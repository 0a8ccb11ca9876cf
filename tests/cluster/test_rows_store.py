# SPDX-License-Identifier: Apache-2.0
"""The config store is killed, and killed and started again, in the middle of a mixed load whose bytes
are checked: while ranks are at points that have names, and at random moments. Copies go on, joins
and leaves end in time and say why, and everybody is a member again afterwards."""
import re
import time

import pytest

from cluster import NOT_CONNECTED, OK, TIMEOUT, now, report
from rows import (CONTROLS, PATIENCE_S, Middle, World, in_world, seed_of, until_struck)

SESSION_MS = 2000
OP_S = 1
POINTS = [["in_put", "in_batch_get", "in_request", "extend_announced", "in_leave", "in_populate",
           "before_announce"],
          ["in_get", "in_batch", "in_prepared", "in_async", "in_attach", "before_retract", "in_extend"],
          ["in_request_get", "between_copies", "after_announce", "in_leave_memory", "in_create",
           "in_destroy", "after_claim"]]


def make_world(cluster):
    cluster.env.update(MF_STORE_SESSION_MS=str(SESSION_MS), MF_STORE_SETTLE_MS="200")
    host = cluster.store()
    made = World(cluster, host.url, 10, (0, 1), pause_us=20000, others=range(2, 9))
    made.host = host
    return made


def restart(world):
    world.host.stop()
    world.cluster.processes.remove(world.host)
    world.host = world.cluster.store(world.url)
    assert world.host.url == world.url


def approach_all(world, points, init):
    """Each member at its point, held there."""
    members = [world.member(i + 2) for i in range(len(points))]
    for member, point in zip(members, points):
        if CONTROLS.get(point) not in ("init", "create", "join"):
            member.begin((0, 1), 50000, init)
    owed = {m: m.approach(p, "act=nothing wait=5000", pause_us=10000, init=init)
            for m, p in zip(members, points)}
    for member, point in zip(members, points):
        until_struck(world, member, point)
    return members, owed


def end_in_time(member, owed, away):
    """Every answer comes by its deadline, and a failure says that it was the store."""
    failed = None
    for command in owed:
        answer = member.rank.reply(20)
        seconds = {"init": 2 * OP_S}.get(command, OP_S) if away else 10
        assert answer.ms / 1000 < seconds + 1 + PATIENCE_S, (member.number, command, answer)
        if failed is None and answer.code != OK:
            assert answer.code in (TIMEOUT, NOT_CONNECTED), (member.number, command, answer)
            # One of them may be leaving, of which the store cannot tell the others.
            assert re.search(r"store|reach rank \d+ ", answer.text), answer
            failed = command
    return failed


def begin_again(world, member):
    """In the same process, with another life."""
    for again in ("mixedend", "destroy 0", "uninit"):
        member.rank.call(again)
    member.init = member.init.replace("op=1", "").replace("init=2 create=1", "")
    member.send_begin().answers()
    member.load((0, 1), 10000)


def is_member_again(world, member, command):
    """What it was doing is repeated until it succeeds. One that left while the store was started
    again is missed by the others, and may be told that they have declared it dead."""
    deadline = now() + 10
    answer = None
    while command in ("join", "leave", "extend"):
        answer = member.rank.call("join 0")
        if answer.code == OK or "declared dead" in answer.text or now() > deadline:
            break
        assert answer.code in (TIMEOUT, NOT_CONNECTED), answer
    if answer is None or "declared dead" in answer.text:
        assert command != "extend", answer  # it has never left
        begin_again(world, member)
    else:
        answer.ok()
        if not member.loaded:
            member.load((0, 1), 10000)
    member.name_life()
    world.until_reached(member.number, 10)
    world.until_rounds(member)


@pytest.mark.parametrize("away", [True, False], ids=["away", "restarted"])
@pytest.mark.parametrize("group", range(len(POINTS)))
@in_world(make_world)
def test_killed_while_ranks_are_at_named_points__copies_go_on(world, group, away):
    points = POINTS[group]
    init = f"op={OP_S} init={2 * OP_S} create={OP_S}" if away else ""
    members, owed = approach_all(world, points, init)
    steady = [m for m, p in zip(members, points) if p not in CONTROLS or CONTROLS[p] == "extend"]
    world.mark()
    world.host.kill()
    rounds = {m: m.rounds() for m in world.observers}
    if not away:
        restart(world)
    for member in members:
        member.cell.release()
    failed = {p: end_in_time(m, owed[m], away) for m, p in zip(members, points)}
    for observer in world.observers:
        world.wait(f"rank {observer.number} makes no round",
                   lambda o=observer: o.rounds() > rounds[o], 2 + PATIENCE_S)
    if away:
        restart(world)
    for member, point in zip(members, points):
        if point in CONTROLS:
            is_member_again(world, member, CONTROLS[point])
        else:
            world.until_rounds(member)
    world.check(quiet=[m.number for m in steady])
    world.check(members, quiet=[m.number for m in steady])
    report(case="store killed at named points", away=away,
           failed={p: f for p, f in failed.items() if f})


@in_world(make_world)
def test_killed_and_started_again_50_times__nothing_is_lost(world):
    """One rank joins and leaves all the time; it may be told that the store is away."""
    dice = seed_of("50 random kills of the store")
    mover = world.member(2).begin((0, 1), 50000, "op=1")
    steady = [world.member(i).begin((0, 1), 5000) for i in (3, 4)]
    for member in steady + [mover]:
        world.until_reached(member.number)
    world.mark()
    done, pending, middle = {}, None, Middle()
    for member in steady:
        member.hurry()
    for i in range(50):
        end = now() + dice.random() * 0.3
        while True:
            pending = move(mover, pending, done, i)
            if now() > end:
                break
        world.host.kill()
        middle.note(steady[i % 2])
        rounds = {m: m.rounds() for m in world.observers + steady}
        for member, before in rounds.items():
            world.wait(f"rank {member.number} makes no round without a store",
                       lambda m=member, n=before: m.rounds() > n, 2 + PATIENCE_S)
        time.sleep(dice.random() * 0.05)
        restart(world)
    while pending:
        pending = move(mover, pending, done, None)
    is_member_again(world, mover, "join")
    for member in steady:
        world.until_rounds(member)
    world.check(quiet=(3, 4))
    world.check(steady, quiet=(3, 4))
    middle.report("50 random kills of the store", mover=done)
    assert done.get("join", 0) > 0 and done.get("leave", 0) > 0


def move(mover, pending, done, more):
    """A turn of the rank that joins and leaves; returns the command that is under way."""
    if pending is None:
        if more is None:
            return None
        command = "leave 0" if done.get("last") != "leave" else "join 0"
        mover.rank.send(command)
        done["last"] = command.split()[0]
        return command, now()
    command, began = pending
    if not mover.rank.has_answer(0.01):
        assert now() - began < OP_S + 1 + PATIENCE_S, command
        return pending
    answer = mover.rank.reply()
    name = command.split()[0]
    if answer.code == OK:
        done[name] = done.get(name, 0) + 1
    else:
        assert answer.code in (TIMEOUT, NOT_CONNECTED), answer
        assert re.search(r"store|reach rank \d+ ", answer.text), answer
        done["refused"] = done.get("refused", 0) + 1
        if name == "join":
            done["last"] = "leave"
    return None
