# SPDX-License-Identifier: Apache-2.0
"""Rank 0, which hosts the config store, is killed in the middle of a mixed load whose bytes are
checked, and started again by the same command: it hosts the store again, gets its rank and its slot
again, and the others are members as before. Several worlds are struck beside each other, since most
of the time is the pause in which a restarted store waits for those that were there."""
import time

import pytest

from cluster import free_port, now, report
from rows import (CONTROLS, PATIENCE_S, SANITIZE, SEEN_S, Middle, World, assert_struck, in_world,
                  seed_of, until_ended)

SESSION_S = 4.0 if SANITIZE else 2.0
BACK_S = SESSION_S + 3
WORLDS = 5
HOST = 0
POINTS = [["in_put", "in_get", "in_batch", "in_batch_get", "in_request"],
          ["in_request_get", "in_prepared", "in_async", "between_copies", "in_extend"],
          ["extend_announced", "in_leave", "before_retract", "in_destroy", "extend_told"],
          ["before_claim", "after_claim", "in_populate", "after_announce", "in_attach"]]


def make_worlds(cluster):
    """Rank 0 hosts the store of ranks 1 and 2."""
    cluster.env.update(MF_STORE_SESSION_MS=str(int(SESSION_S * 1000)), MF_STORE_SETTLE_MS="200")
    made = []
    for _ in range(WORLDS):
        world = World(cluster, f"tcp://127.0.0.1:{free_port()}", 4, pause_us=20000)
        world.member(HOST).start("serve=1").send_begin().answers()
        world.observe((1, 2), others=(HOST,))
        host = world.member(HOST)
        host.name_life()
        host.load((1, 2), 10000)
        made.append(world)
    for world in made:
        world.until_reached(HOST)
        world.mark()
    return made


def come_back(worlds):
    """By the same command. Returns how long each took to be a member again."""
    began = now()
    hosts = [world.member(HOST).start("serve=1").send_begin() for world in worlds]
    took = []
    for world, host in zip(worlds, hosts):
        host.answers()
        took.append(now() - began)
        host.name_life()
        host.load((1, 2), 10000)
    for world, host in zip(worlds, hosts):
        world.until_reached(HOST)
        world.until_rounds(host)
        world.check()
        world.check([host])
    assert max(took) < BACK_S + PATIENCE_S, took
    return took


@pytest.mark.parametrize("points", POINTS, ids=lambda points: points[0])
@in_world(make_worlds)
def test_host_killed_at_a_named_point__hosts_again_and_all_are_there(world, points):
    worlds, seen, before = world, {}, {}
    for world, point in zip(worlds, points):
        host = world.member(HOST)
        if CONTROLS.get(point) in ("init", "create", "join"):  # while it comes back
            before[world] = host.cell
            at = host.kill()
            world.seen(HOST, at, SEEN_S)
        host.approach(point, init="serve=1")
    for world, point in zip(worlds, points):
        host = world.member(HOST)
        until_ended(host, BACK_S)
        assert_struck(host, point)
        if world not in before:
            seen[point] = round(max(world.seen(HOST, host.cell.struck_at, SEEN_S)) * 1000, 1)
    took = come_back(worlds)
    report(case="host killed at named points", seen_ms=seen, back_s=[round(t, 2) for t in took])


@in_world(make_worlds)
def test_host_killed_at_50_random_points__hosts_again_and_all_are_there(world):
    dice = seed_of("50 random kills of the host")
    worlds, middle, took, worst = world, Middle(), [], 0
    for _ in range(50 // WORLDS):
        struck = []
        for world in worlds:
            world.member(HOST).hurry()
            time.sleep(dice.random() * 0.02)
            struck.append(world.member(HOST).kill())
            middle.note(world.member(HOST))
        for world, at in zip(worlds, struck):
            worst = max([worst] + world.seen(HOST, at, SEEN_S))
        took += come_back(worlds)
    middle.report("50 random kills of the host", worst_seen_ms=round(worst * 1000, 1),
                  back_s_median=round(sorted(took)[len(took) // 2], 2),
                  back_s_max=round(max(took), 2))
