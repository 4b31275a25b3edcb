"""Parts that have a faster twin are tested in both forms."""

from contextlib import nullcontext

import pytest

from bittygpt.core.twins import formulas_alone


@pytest.fixture(params=["twins", "formulas"])
def both_forms(request):
    """The test runs once with the twins and once with the formulas alone."""
    with nullcontext() if request.param == "twins" else formulas_alone():
        yield
