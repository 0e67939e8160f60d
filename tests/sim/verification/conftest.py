"""How the tests run a verification study."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.verification.study import Study


def hold_up(study: Study) -> None:
    """Run a study and fail with every row that does not hold."""
    rows = study.rows()
    assert rows
    wrong = [row for row in rows if not row.passed]
    assert not wrong, "\n".join(
        f"{row.name}: {row.measured:.8g}, expected {row.expected:.8g} ({row.rule}, {row.tolerance:g})"
        for row in wrong
    )


@pytest.fixture
def verify() -> Callable[[Study], None]:
    """The function `hold_up`."""
    return hold_up
