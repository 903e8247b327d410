from salver_server.calls import Tokens


def test_what_the_cache_took_part_in_is_not_fresh() -> None:
    assert Tokens(input=100, output=5).fresh == 100
    assert Tokens(input=100, output=5, cache_read=60, cache_write=30).fresh == 10
    assert Tokens(input=10, output=5, cache_read=60).fresh == 0
