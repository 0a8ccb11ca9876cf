# SPDX-License-Identifier: Apache-2.0
"""Floods of joins and leaves in the middle of a mixed load whose bytes are checked: while a rank is
held at a point that has a name, and at random moments. Who stays has no failure with others who
stay, every join and leave succeeds, and no byte is wrong."""
import time

from cluster import now, report
from rows import (CONTROLS, COPIES, PATIENCE_S, Middle, World, in_world, seed_of, until_struck)

HELD = 2
FLOOD = (3, 4, 5, 6)
TIMES = 3
HOLD_MS = 300  # at points at which nobody can reach it: far below the time of a session
POINTS = list(COPIES) + ["between_copies", "before_announce", "after_announce", "in_attach",
                         "in_extend", "extend_announced", "extend_told", "in_leave",
                         "before_retract", "in_leave_memory"]


def make_world(cluster):
    made = World(cluster, cluster.store().url, 8, (0, 1), pause_us=20000, others=(HELD,) + FLOOD)
    for number in FLOOD:
        made.member(number).begin((0, 1), 20000)
    return made


def all_do(members, command, lives=False):
    """At the same time, and all succeed."""
    began = now()
    for member in members:
        member.drive(command)
    for member in members:
        member.rank.reply(20).ok()
    for member in members if lives else ():
        member.name_life()
    assert now() - began < 5 + PATIENCE_S
    return len(members)


@in_world(make_world)
def test_flood_while_a_rank_is_at_a_named_point__it_goes_on(world):
    flood = [world.member(number) for number in FLOOD]
    done, began = 0, now()
    for point in POINTS:
        held = world.member(HELD)
        if held.rank is not None and CONTROLS.get(point) in ("create", "join"):
            for command in ("mixedend", "destroy 0", "uninit", "quit"):
                held.rank.send(command)
            held.rank.popen.wait(20)
            held.forget()
        hold = 10000 if point in COPIES else HOLD_MS
        owed = held.approach(point, f"act=nothing wait={hold}", pause_us=20000)
        until_struck(world, held, point)
        world.mark()
        for _ in range(TIMES):
            done += all_do(flood, "leave")
            done += all_do(flood, "join", lives=True)
        if point in COPIES:  # it has been there all the time
            assert COPIES[point] + "+" in held.cell.doing(held.loaded), point
        held.cell.release()
        for _ in owed:
            held.rank.reply(20).ok()
        if CONTROLS.get(point) == "leave":
            held.rank.ok("join 0")
        if CONTROLS.get(point) in ("join", "leave"):
            held.name_life()
        if not held.loaded:
            held.load((0, 1), 20000)
        world.until_reached(HELD)
        world.until_rounds(held)
        stays = point in COPIES or CONTROLS.get(point) == "extend"
        world.check(quiet=(HELD,) if stays else ())
        world.check([held] + flood)
    report(case="flood at named points", joins_and_leaves=done,
           each_ms=round((now() - began) * 1000 / done, 2))


def burst(world, dice):
    """All of them at the same time, each in its own way; none of them waits for another one."""
    ways, began = {}, now()
    for number in FLOOD:
        member = world.member(number)
        way = dice.choice(("leave", "leave", "destroy", "kill"))
        ways[member] = way
        if way == "kill":
            member.kill()
            member.start().send_begin()
            continue
        if way == "destroy":
            member.rank.send("mixedend")
            member.drive("destroy")
            member.rank.send(f"create 0 dram={8 << 20} max={16 << 20}")
        else:
            member.drive("leave")
        member.drive("join")
    for member, way in ways.items():
        for _ in range({"leave": 2, "destroy": 4, "kill": 3}[way]):
            member.rank.reply(20).ok()
        member.name_life()
        if way != "leave":
            member.load((0, 1), 20000)
    assert now() - began < 5 + PATIENCE_S
    return ways.values()


@in_world(make_world)
def test_50_floods_at_random_moments__who_stays_goes_on(world):
    dice = seed_of("50 random floods")
    middle, done = Middle(), {}
    steady = world.member(HELD).begin((0, 1), 20000)
    world.until_reached(HELD)
    steady.hurry()
    world.mark()
    for _ in range(50):
        time.sleep(dice.random() * 0.01)
        rounds = steady.rounds()
        middle.note(steady)
        for way in burst(world, dice):
            done[way] = done.get(way, 0) + 1
        world.wait("the steady rank makes no round",
                   lambda n=rounds: steady.rounds() > n, 2 + PATIENCE_S)
        world.check(quiet=(HELD,))
        world.check([steady], quiet=(HELD,))
    for number in FLOOD:
        world.until_reached(number)
        world.check([world.member(number)])
    middle.report("50 random floods", done=done)
