"""A headless Chromium that all tests of this folder share, and a page with a report in it."""

import chromium
import pytest


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    if chromium.find() is None:
        pytest.skip(f"no Chromium: none of {', '.join(chromium.NAMES)} is on the path")
    with chromium.Browser(tmp_path_factory.mktemp("browser")) as started:
        yield started
