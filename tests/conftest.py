"""Fixtures: the sample services and a gateway in front of them, started once for a whole run.

Only tests that ask for them start anything. A test that needs a gateway of its own kind starts one
with `tests.support.gateway.GatewayProcess`. What a test changes in what all share it puts back itself,
but for faults, counts and calls that still run, which `samples` sees to.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, settings

from tests.support.gateway import GatewayProcess, bearer
from tests.support.samples import SampleServices, UserName

# A client may ask for a fault of its own (`x-fault`), nobody runs dry, and breakers of one test do
# not refuse the calls of the next.
ROOMY = {
    "tiers": {"guest": "30000/min", "standard": "30000/min", "premium": "5000/min"},
    "limiter": {"failures": "30000/min", "per_address": {"rate": "10000/s", "burst": 10_000}},
    "metadata": {"in": ["accept-language", "x-fault"]},
    "upstreams": {name: {"breaker": "off"} for name in ("users", "catalog", "orders")},
}
# The screen's own times are for people; with these a busy machine does not decide a test.
_HOME = (Path(__file__).parents[1] / "mappings" / "home.yaml").read_text()
_PATIENT_HOME = _HOME.replace("deadline: 800ms", "deadline: 1500ms").replace("300ms", "1s")
# The same examples in each run, however slow the machine: `pytest --hypothesis-profile=search` looks
# for new ones.
settings.register_profile(
    "search", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("same", settings.get_profile("search"), derandomize=True)
settings.load_profile("same")


class Tokens:
    """Access tokens by user, fetched once."""

    def __init__(self, samples: SampleServices) -> None:
        self._samples = samples
        self._known: dict[str, str] = {}

    async def of(self, user: UserName) -> str:
        """A token with all scopes of the user, which outlives the slowest run."""
        if user not in self._known:
            self._known[user] = await self._samples.user_token(user, expires_in_s=12 * 3600)
        return self._known[user]


@pytest.fixture(scope="session")
def shop() -> Iterator[SampleServices]:
    """The sample services of the whole run; use `samples`, which starts each test from zero."""
    with SampleServices() as running:
        yield running


@pytest.fixture(scope="session")
def tokens(shop: SampleServices) -> Tokens:
    """Access tokens of the sample users."""
    return Tokens(shop)


@pytest.fixture(scope="session")
def gateway(
    shop: SampleServices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """One gateway with roomy limits for all tests that do not change how it runs."""
    folder, files = tmp_path_factory.mktemp("gateway"), {"home.yaml": _PATIENT_HOME}
    with GatewayProcess(folder, shop, changes=ROOMY, files=files) as running:
        yield running


@pytest.fixture
async def samples(shop: SampleServices) -> SampleServices:
    """The sample services without faults, nothing running and nothing counted yet."""
    await shop.reset()
    return shop


@pytest.fixture
async def http(
    gateway: GatewayProcess, samples: SampleServices
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the shared gateway; nobody is signed in."""
    async with gateway.client() as client:
        yield client


@pytest.fixture
async def premium(tokens: Tokens) -> dict[str, str]:
    """Headers of "u-1", premium, who may read and write what is its own."""
    return bearer(await tokens.of("premium"))


@pytest.fixture
async def admin(tokens: Tokens) -> dict[str, str]:
    """Headers of "u-2", administrator, standard tier."""
    return bearer(await tokens.of("admin"))


@pytest.fixture
async def guest(tokens: Tokens) -> dict[str, str]:
    """Headers of "u-3", who may only read; tier guest."""
    return bearer(await tokens.of("guest"))
