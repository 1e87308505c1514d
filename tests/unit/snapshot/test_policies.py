"""What routes share of the policies of one version."""

from pathlib import Path
from typing import Any

from bff.ratelimit.address_buckets import AddressBuckets
from bff.ratelimit.bucket import Bucket
from bff.snapshot.findings import Findings
from bff.snapshot.parts import Lease, Parts
from bff.snapshot.policies import PolicyCompiler
from tests.support.config_files import SHOP, loaded
from tests.support.upstream_fakes import FakeClock, Half


def _unused(*_: object) -> Any:
    raise AssertionError("nothing is opened here")


def test_the_same_identity_is_one_memory_of_callers_for_all_routes(tmp_path: Path) -> None:
    clock = FakeClock()
    parts = Parts(
        clock=clock, random=Half(), emit=lambda _: None, connect=_unused, make_store=_unused
    )
    failures = AddressBuckets(bucket=Bucket(10, 60.0, 10), clock=clock)
    gateway = loaded(tmp_path, SHOP).gateway
    policies = PolicyCompiler(gateway, parts, Lease(), Findings(), failures)

    names = policies.identity(["x-user-id", "x-roles"], "orders")

    assert policies.identity(["x-user-id", "x-roles"], "users") is names
    assert policies.identity(["x-user-id"], "orders") is not names
    assert policies.identity("none", "orders") is policies.identity("none", "users")
