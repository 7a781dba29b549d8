"""GPU kinds: found by device id or by the labeller's name, and cut into partitions."""

from __future__ import annotations

import pytest

from app.fit.catalog import ACCELERATORS, GIB, find_accelerator, partitioned
from tests.fit.facts import accelerator


def test_the_order_is_that_of_the_keys() -> None:
    keys = [item.key for item in ACCELERATORS]
    assert keys == sorted(set(keys))
    assert {"MI210", "MI250X", "MI300X", "MI325X", "MI350X", "MI355X", "W7900", "R9700"} <= set(keys)


def test_no_device_id_belongs_to_two_kinds() -> None:
    ids = [device_id for item in ACCELERATORS for device_id in item.device_ids]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("device_id", "product_name", "key"),
    [
        pytest.param("74a1", "", "MI300X", id="a device id"),
        pytest.param("0x74B5", "", "MI300X", id="a virtual function, with prefix and capitals"),
        pytest.param("740c", "AMD_Instinct_MI250", "MI250X", id="the device id goes before the name"),
        pytest.param("ffff", "AMD_Instinct_MI325X_OAM", "MI325X", id="an unknown id leaves it to the name"),
        pytest.param("", "AMD_Instinct_MI300X_OAM", "MI300X", id="the labeller's spelling"),
        pytest.param("", "AMD Instinct MI300A", "MI300A", id="AMD's spelling"),
        pytest.param("", "AMD_Radeon_PRO_W7800_48GB", "W7800-48GB", id="the longer name wins"),
        pytest.param("", "AMD_Radeon_PRO_W7800", "W7800", id="the shorter name"),
    ],
)
def test_it_is_found_by(device_id: str, product_name: str, key: str) -> None:
    assert find_accelerator(device_id, product_name) == accelerator(key)


@pytest.mark.parametrize(
    ("device_id", "product_name"),
    [
        pytest.param("", "", id="nothing said"),
        pytest.param("744c", "", id="an id not listed"),
        pytest.param("", "AMD_Instinct_MI300", id="the beginning of a name"),
        pytest.param("", "NVIDIA_H100", id="another vendor"),
    ],
)
def test_it_is_unknown_with(device_id: str, product_name: str) -> None:
    assert find_accelerator(device_id, product_name) is None


@pytest.mark.parametrize(
    ("key", "memory"),
    [
        pytest.param("MI300X", 206_141_652_992, id="as the driver reports it"),
        pytest.param("MI325X", 256 * GIB - 64 * 1024**2, id="nominal less 64 MiB where no report is known"),
        pytest.param("MI250X", 64 * GIB - 64 * 1024**2, id="one die of two is one GPU"),
    ],
)
def test_memory_is(key: str, memory: int) -> None:
    assert accelerator(key).memory_bytes == memory


@pytest.mark.parametrize(
    ("key", "mode", "parts"),
    [
        pytest.param("MI300X", "dpx_nps1", 2, id="DPX"),
        pytest.param("MI300X", "qpx_nps1", 4, id="QPX"),
        pytest.param("MI300X", "cpx_nps4", 8, id="CPX is one a die, whatever NPS"),
        pytest.param("MI300X", "CPX", 8, id="capitals, no memory mode"),
        pytest.param("MI300A", "tpx_nps1", 3, id="TPX"),
        pytest.param("MI300A", "cpx_nps1", 6, id="CPX of six dies"),
    ],
)
def test_partitions_share_the_memory_and_are_an_island(key: str, mode: str, parts: int) -> None:
    whole, part = accelerator(key), partitioned(accelerator(key), mode)
    assert part is not None
    assert part.memory_bytes == whole.memory_bytes // parts
    assert part.island == parts
    assert part.per_node == whole.per_node * parts
    assert part.gfx == whole.gfx
    assert part.key == f"{key}-{mode.upper().replace('_', '-')}"
    assert partitioned(part, "cpx") is None


def test_an_unpartitioned_gpu_is_itself() -> None:
    assert partitioned(accelerator("MI300X"), "spx_nps1") == accelerator("MI300X")


@pytest.mark.parametrize(
    ("key", "mode"),
    [
        pytest.param("MI210", "cpx_nps1", id="a GPU without partitions"),
        pytest.param("MI300A", "qpx_nps1", id="a mode of other GPUs"),
        pytest.param("MI300X", "nonsense", id="no mode at all"),
        pytest.param("MI308X", "spx_nps1", id="a GPU whose modes are not verified"),
    ],
)
def test_there_is_no_partition_of(key: str, mode: str) -> None:
    assert partitioned(accelerator(key), mode) is None
