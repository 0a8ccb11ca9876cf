# SPDX-License-Identifier: Apache-2.0
"""A rank forks in the middle of a mixed load whose bytes are checked: at points that have names, and
at random moments. It goes on as if nothing were; its child has no service; and when it is killed
while the child lives on with all that it has inherited, its death is a death."""
import time

import pytest

from cluster import NOT_INIT, report
from rows import (CONTROLS, COPIES, PATIENCE_S, SEEN_S, Middle, World, in_world, seed_of,
                  until_struck)

VICTIM = 3
POINTS = list(COPIES) + ["between_copies", "in_answer", "in_create", "before_announce",
                         "after_announce", "in_attach", "in_extend", "extend_announced",
                         "in_leave", "before_retract"]


def make_world(cluster):
    return World(cluster, cluster.store().url, 6, (0, 1), others=(VICTIM,))


def goes_on(world, victim, point, owed):
    """What it was doing ends as if it had not forked."""
    for _ in owed:
        victim.rank.reply(20).ok()
    command = CONTROLS.get(point)
    if command == "leave":
        victim.rank.ok("join 0")
    if not victim.loaded:
        victim.load((0, 1))
    if command in ("leave", "create", "join"):
        victim.name_life()
    world.until_reached(VICTIM)
    world.until_rounds(victim)


@pytest.mark.parametrize("group", range(2))
@in_world(make_world)
def test_forks_at_a_named_point__goes_on_and_its_death_is_seen(world, group):
    took = {}
    for point in POINTS[group::2]:
        victim = world.member(VICTIM)
        owed = victim.approach(point, "act=fork")
        newcomer = None
        if point == "in_answer":
            newcomer = world.member(4).start().send_begin()
        until_struck(world, victim, point)
        if point in COPIES:
            world.mark()
        goes_on(world, victim, point, owed)
        world.wait("the child says nothing", lambda v=victim: v.cell.child != 0, 5 + PATIENCE_S)
        assert victim.cell.child == 1, point
        world.check(quiet=(VICTIM,) if point in COPIES else ())
        world.check([victim])
        if newcomer is not None:
            newcomer.answers()
            newcomer.kill()
        child = victim.cell
        at = victim.kill()
        took[point] = round(max(world.seen(VICTIM, at, SEEN_S)) * 1000, 1)
        again = world.member(VICTIM).begin((0, 1))  # while the child lives
        world.until_reached(VICTIM)
        world.until_rounds(again)
        again.kill()
        child.release()
        world.check()
    report(case="forked at named points, killed while the child lives", seen_ms=took)


@in_world(make_world)
def test_forks_at_50_random_points__its_death_is_seen(world):
    dice = seed_of("50 random forks")
    middle, took = Middle(), []
    for _ in range(50):
        victim = world.member(VICTIM).begin((0, 1))
        world.until_reached(VICTIM)
        time.sleep(dice.random() * 0.01)
        victim.rank.ok("fork")
        time.sleep(dice.random() * 0.01)
        rank = victim.rank
        rank.note_sockets()
        at = rank.kill()
        middle.note(victim)
        took += world.seen(VICTIM, at, SEEN_S)
        rank.reply().ok()  # the child goes on with the conversation
        for command in ("join 0", "leave 0", "get 0 0 64 0 0"):
            rank.call(command).fails(NOT_INIT, "fork")
        rank.send("quit")
        victim.forget()
        world.check()
        world.check([victim])
    middle.report("50 random forks", worst_seen_ms=round(max(took) * 1000, 2))
