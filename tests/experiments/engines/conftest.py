"""A cluster of two machines, as Ray makes one of the processes of this."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

MEMORY = 80_000_000
"""Bytes of a machine's objects, the least that Ray takes."""


PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


def machine() -> dict[str, Any]:
    """What a machine of the cluster has. Ray gives up on machines whose helpers are slow to choose ports."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("", 0))) for _ in PORTS]
        ports = {name: held.getsockname()[1] for name, held in zip(PORTS, sockets, strict=True)}
    return {"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False, **ports}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two machines of one CPU each."""
    # Ray would build an environment of the current folder, tell its makers that it is used, and give up on slow starts.
    os.environ |= {
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": "120",
    }
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster()
    try:
        for _ in range(2):
            cluster.add_node(**machine())
        ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:  # of many types, by what it lacks
        cluster.shutdown()
        pytest.skip(f"Ray cannot start here: {error}")
    cluster.machine = machine
    yield cluster
    ray.shutdown()
    cluster.shutdown()
