"""The benchmark of GPUs, whose logic runs on the CPU with tiny sizes."""

import re

import pytest
import torch

from benchmarks import gpu
from stconv.models import Conv2Plus1D

CPU = torch.device("cpu")


@pytest.mark.slow
def test_each_way_is_measured_and_becomes_a_row():
    torch.manual_seed(0)
    network = Conv2Plus1D(1, 1, 3, 2, n_layers=1, n_filters=4, kernel=3)
    case = gpu.Case("tiny", network, (8, 9), 2)
    most = gpu.limit(CPU, 64)
    rows = gpu.measure(case, gpu.WAYS, CPU, most, rounds=1, backend="eager")
    assert [(row.work, row.way) for row in rows] == [
        (work, way.title) for work in ("training step", "forecast") for way in gpu.WAYS
    ]
    for row in rows:
        assert row.windows_per_second > 0
        assert row.share_of_limit > 0
        assert (row.way == gpu.EAGER.title) <= (row.times_eager == 1)
    differences = [row.difference for row in rows if row.work == "forecast"]
    assert differences[0] == 0
    assert all(0 < difference < 0.05 for difference in differences[1:]), "bf16 has 8 bits: 0.4 %"
    new = gpu.section(rows, "a card", most)
    assert new.count("| tiny |") == len(rows)
    assert re.search(r"^## \d{4}-\d\d-\d\d, \d\d:\d\d, on a GPU: .* a card", new)
    again = gpu.with_section("# Results\n\nText.\n\n## Older\n\nOld.\n", new)
    assert again.index("on a GPU") < again.index("## Older")
    assert again.startswith("# Results\n\nText.\n\n## ")
    assert not gpu.measure(case, gpu.WAYS, CPU, most, until=0), "no time is left"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    with pytest.raises(SystemExit, match="measures on a GPU, and PyTorch finds none here"):
        gpu.main()
