"""A fixture for folders of tests with small networks; their conftest.py imports it.

Small networks run fastest on one thread, above all if other processes share the cores.
"""

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
