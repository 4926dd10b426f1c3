import pytest
def test_x(): pass
