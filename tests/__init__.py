import pytest

pytest.register_assert_rewrite("tests.helpers")  # so that failed assertions of helpers show their values, too
