"""The cores a process may use: its own, its container's quota, and the quotas of the groups above it."""

import pytest

from headrace.cores import cores


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


@pytest.mark.parametrize(
    ("quota", "found"),
    [("max 100000", 8), ("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8)],
)
def test_a_quota_of_cgroups_2(tmp_path, quota, found):
    put(tmp_path / "own", "0::/")
    put(tmp_path / "groups" / "cpu.max", quota)
    assert cores(tmp_path / "groups", tmp_path / "own", allowed=8) == found


def test_the_tightest_group_counts(tmp_path):
    put(tmp_path / "own", "0::/pods/fraud")
    put(tmp_path / "groups" / "pods" / "cpu.max", "300000 100000")
    put(tmp_path / "groups" / "pods" / "fraud" / "cpu.max", "600000 100000")
    assert cores(tmp_path / "groups", tmp_path / "own", allowed=8) == 3


def test_a_container_that_is_told_its_hosts_path_sees_its_quota_at_the_root(tmp_path):
    put(tmp_path / "own", "0::/kubepods/pod1/abc")
    put(tmp_path / "groups" / "cpu.max", "400000 100000")
    assert cores(tmp_path / "groups", tmp_path / "own", allowed=8) == 4


@pytest.mark.parametrize(("quota", "found"), [("-1", 8), ("300000", 3)])
def test_a_quota_of_cgroups_1(tmp_path, quota, found):
    put(tmp_path / "own", "4:cpu,cpuacct:/docker/abc\n2:memory:/docker/abc\n0::/")
    put(tmp_path / "groups" / "cpu,cpuacct" / "cpu.cfs_quota_us", quota)
    put(tmp_path / "groups" / "cpu,cpuacct" / "cpu.cfs_period_us", "100000")
    assert cores(tmp_path / "groups", tmp_path / "own", allowed=8) == found


@pytest.mark.parametrize("said", ["", "nonsense", "0::/\nx"])
def test_what_cannot_be_read_is_no_quota(tmp_path, said):
    put(tmp_path / "own", said)
    put(tmp_path / "groups" / "cpu.max", "plenty")
    assert cores(tmp_path / "groups", tmp_path / "own", allowed=8) == 8
    assert cores(tmp_path / "nowhere", tmp_path / "none", allowed=0) == 1


def test_this_process_has_some():
    assert cores() >= 1
