import json
import os
import platform
import socket

import torch

from rltemp.experiments.machine import describe_machine


def test_it_names_what_computes() -> None:
    machine = describe_machine()
    assert machine["python"] == platform.python_version()
    assert str(machine["torch"]).split("+")[0] == torch.__version__.split("+")[0]
    assert 1 <= int(machine["cores"]) <= (os.cpu_count() or 1)
    assert all(value for value in machine.values())


def test_it_names_no_place_and_can_be_stored() -> None:
    text = json.dumps(describe_machine())
    assert os.getcwd() not in text
    assert socket.gethostname() not in text
