# SPDX-License-Identifier: Apache-2.0
"""SIGSTOP of ranks in the middle of a mixed load whose bytes are checked, for longer than a session:
they are dead for the others in time, and learn it when they go on. And SIGSTOP for a moment, of
which nobody is told."""
import os
import re
import signal
import time

import pytest

from cluster import NOT_CONNECTED, NOT_STARTED, OK, now, report
from rows import (CONTROLS, PATIENCE_S, SANITIZE, Middle, World, command_line, in_world, seed_of,
                  until_struck)

SESSION_S = 4.0 if SANITIZE else 2.0
ENDS_S = 2.0  # what it was doing, once it goes on
VICTIMS = range(2, 10)
POINTS = [["in_put", "in_batch_get", "in_request", "in_async", "in_extend", "in_leave", "in_attach",
           "between_copies"],
          ["in_get", "in_batch", "in_prepared_get", "in_request_get", "in_async_get",
           "extend_announced", "after_announce", "in_leave_memory"]]


def make_world(cluster):
    cluster.env.update(MF_STORE_SESSION_MS=str(int(SESSION_S * 1000)), MF_FENCE_WAIT_MS="300",
                       MF_PEER_CONNECT_MS="300")
    return World(cluster, cluster.store().url, 12, (0, 1), pause_us=40000, others=VICTIMS)


def stop(member):
    """Returns when it was sent; the process stands still."""
    at = member.rank.signal(signal.SIGSTOP)
    member.world.wait("it does not stop", lambda: all(
        state.startswith("T") for state in thread_states(member.rank.pid)), 5 + PATIENCE_S)
    return at


def thread_states(pid):
    states = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii", errors="replace") as stat:
                states.append(stat.read().rsplit(")", 1)[1].split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return states


def begin(world, numbers):
    members = [world.member(i).start().send_begin() for i in numbers]
    for member in members:
        member.answers()
        member.name_life()
        member.load((0, 1), 30000)
    return members


def go_on(world, members, owed=None):
    """They learn what has become of them, whatever they were doing, and come back in the same
    processes."""
    at = now()
    for member in members:
        member.rank.signal(signal.SIGCONT)
    for member in members:
        for _ in (owed or {}).get(member, []):
            answer = member.rank.reply(20)
            assert answer.code == OK or re.search(f"rank {member.number}\\b", answer.text), answer
            assert now() - at < ENDS_S + PATIENCE_S, answer
        world.wait(f"rank {member.number} does not learn that it is dead",
                   lambda m=member: m.cell.own > 0, ENDS_S + PATIENCE_S)
        # It is told so in whatever it calls.
        dead = (f"rank {member.number}", "declared dead|session .* has ended")
        member.rank.call("put 0 0 64 1").fails((NOT_CONNECTED, NOT_STARTED), dead[0])
        member.rank.call("join 0").fails(NOT_CONNECTED, *dead)
        assert member.cell.wrong == 0 and member.cell.odd == 0, member.cell.odd_text
        for command in ("mixedend", "destroy 0", "uninit"):
            member.rank.call(command)
    for member in members:
        member.cell = world.new_cell()
        member.rank.ok(f"board {world.path} {member.cell.number}")
        member.send_begin()
    for member in members:
        member.answers()
        member.name_life()
        member.load((0, 1), 30000)
        world.until_reached(member.number)


@pytest.mark.parametrize("group", range(len(POINTS)))
@in_world(make_world)
def test_stopped_at_a_named_point__is_dead_at_the_end_of_its_session(world, group):
    members = begin(world, VICTIMS)
    for member in members:
        world.until_reached(member.number)
    owed, took = {}, {}
    for member, point in zip(members, POINTS[group]):
        command = CONTROLS.get(point)
        if command == "join":
            member.rank.ok("leave 0")
        member.rank.note_sockets()
        member.arm(point, f"sig={int(signal.SIGSTOP)}", command_line(command) if command else "")
        owed[member] = ["arm", command] if command else ["arm"]
    for member, point in zip(members, POINTS[group]):
        until_struck(world, member, point)
    for member, point in zip(members, POINTS[group]):
        seen = world.seen(member.number, member.cell.struck_at, SESSION_S + 1 + PATIENCE_S)
        took[point] = round(max(seen) * 1000)
    # Those that were about to leave, or had not come yet, are no members for other reasons.
    time.sleep(max(0, max(m.cell.struck_at for m in members) + SESSION_S + 1 - now()))
    world.check()
    go_on(world, members, owed)
    world.check()
    world.check(members)
    report(case="stopped at named points", session_ms=SESSION_S * 1000, seen_ms=took)


@in_world(make_world)
def test_stopped_at_50_random_points__no_wrong_byte(world):
    dice = seed_of("50 random stops")
    members = begin(world, VICTIMS)
    worst, middle = 0, Middle()
    for _ in range(-(-50 // len(VICTIMS))):
        for member in members:
            world.until_reached(member.number)
            member.rank.note_sockets()
        stopped = []
        for member in members:
            member.hurry()
            time.sleep(dice.random() * 0.02)
            stopped.append(stop(member))
        for member, at in zip(members, stopped):
            doing = middle.note(member)
            seen = world.seen(member.number, at, SESSION_S + 1 + PATIENCE_S)
            worst = max([worst] + seen)
            assert member.cell.doing((0, 1)) == doing, (member.number, doing)
        world.check()
        go_on(world, members)
    world.check(members)
    middle.report("50 random stops", session_ms=SESSION_S * 1000,
                  worst_seen_ms=round(worst * 1000))


@in_world(make_world)
def test_stopped_50_times_for_a_moment__nobody_fails(world):
    """Well below the time of a session: it stays a member, and what it did goes on."""
    dice = seed_of("50 short stops")
    members = begin(world, VICTIMS[:2])
    for member in members:
        world.until_reached(member.number)
    world.mark()
    middle = Middle()
    for member in members:
        member.hurry()
    for _ in range(50):
        member = dice.choice(members)
        time.sleep(dice.random() * 0.01)
        stop(member)
        time.sleep(dice.random() * 0.03 * SESSION_S)
        middle.note(member)
        member.rank.signal(signal.SIGCONT)
    middle.report("50 short stops")
    for member in members:
        world.until_rounds(member)
    world.check(quiet=VICTIMS[:2])
    world.check(members, quiet=VICTIMS[:2])
