"""Which of the servers a test runs on; all of them unless it says otherwise."""

import pytest

# For what only the client does with an answer: what the servers answer is compared elsewhere.
embedded_only = pytest.mark.parametrize("server", ["embedded"], indirect=True)
