# SPDX-License-Identifier: Apache-2.0
"""mfcli run and mfcli replay when one of their ranks is killed: survivors say what happened, the
command fails, nothing wrong was read, and nothing is left."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from cluster import MFCLI, is_alive, now


def start(cluster, *words):
    env = dict(os.environ, TMPDIR=cluster.scratch, CLUSTER_RUN=cluster.mark, MF_LOG_LEVEL="2")
    return subprocess.Popen([MFCLI, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=env, cwd=cluster.scratch, start_new_session=True)


def children(pid):
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                parent = int(stat.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent == pid:
            found.append(int(entry))
    return found


def ranks_of(tool, count):
    """Its ranks, once all have joined or are about to: those children that have MF_RANK."""
    deadline = now() + 20
    while now() < deadline:
        ranks = {}
        for pid in children(tool.pid):
            try:
                with open(f"/proc/{pid}/environ", "rb") as environ:
                    number = re.search(rb"(?:^|\0)MF_RANK=(\d+)", environ.read())
            except OSError:
                continue
            if number:
                ranks[int(number.group(1))] = pid
        if len(ranks) == count:
            return ranks
        assert tool.poll() is None, tool.communicate()
        time.sleep(0.02)
    raise AssertionError("the tool has not started its ranks")


def end_of(tool, seconds):
    try:
        return tool.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        tool.kill()
        raise AssertionError(f"mfcli hangs: {tool.communicate()}") from None


@pytest.mark.parametrize("after_s", [0.0, 0.3, 1.5])
def test_replay__a_killed_rank_ends_it_in_time(cluster, after_s):
    tool = start(cluster, "replay", "--ranks", "4", "--clients", "1", "--requests", "2000000",
                 "--json")
    ranks = ranks_of(tool, 4)
    time.sleep(after_s)
    os.kill(ranks[2], signal.SIGKILL)
    begin = now()
    out, errors = end_of(tool, 20)
    assert tool.returncode == 1, (tool.returncode, out, errors)
    assert now() - begin < 15
    assert re.search(r"rank 2 .*killed by signal 9", errors), errors
    for line in out.splitlines():
        if line.startswith("{"):
            assert json.loads(line).get("wrong_bytes", 0) == 0, line
    assert not any(is_alive(pid) for pid in ranks.values())


def test_run__a_killed_rank_ends_the_others(cluster):
    tool = start(cluster, "run", "-n", "3", "--", "sleep", "60")
    ranks = ranks_of(tool, 3)
    os.kill(ranks[1], signal.SIGKILL)
    begin = now()
    _, errors = end_of(tool, 20)
    assert tool.returncode == 1
    assert now() - begin < 10
    assert re.search(r"rank 1 .*killed by signal 9", errors), errors
    assert not any(is_alive(pid) for pid in ranks.values())


def test_run__killed_itself_leaves_no_rank(cluster):
    tool = start(cluster, "run", "-n", "3", "--", "sleep", "60")
    ranks = ranks_of(tool, 3)
    tool.kill()
    tool.communicate(timeout=20)
    deadline = now() + 5
    while any(is_alive(pid) for pid in ranks.values()) and now() < deadline:
        time.sleep(0.02)
    assert not any(is_alive(pid) for pid in ranks.values())
