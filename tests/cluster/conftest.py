# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a cluster of processes that is gone after the test without a trace."""
import pytest

from cluster import Cluster


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    result = outcome.get_result()
    cluster = item.funcargs.get("cluster")
    if result.when == "call" and result.failed and cluster is not None:
        for process in cluster.processes[-24:]:
            text = process.errors()[-4000:]
            result.sections.append((f"{process.name} (pid {process.pid})", text))


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    yield made
    left = made.close()
    assert not left, f"left behind: {left}"


@pytest.fixture
def store(cluster):
    """A config store in its own process."""
    return cluster.store()
