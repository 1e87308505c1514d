"""Small runs of the long soaks: `make soak` does the same for longer."""

from pathlib import Path

import pytest

from tests.support.soak_posts import soak_posts


@pytest.mark.rule("upstreams.2")
async def test_posts_with_clients_that_leave_end_at_the_baseline(tmp_path: Path) -> None:
    """2,000 requests with bodies through a whole gateway: each reply is its own, and no file stays open."""
    figures = await soak_posts(2_000, tmp_path)

    assert set(figures.ends) == {"ok", "left"}
    assert sum(figures.ends.values()) == figures.requests
    assert figures.ends["left"] > 0.1 * figures.requests
    assert figures.files[1] <= figures.files[0]
