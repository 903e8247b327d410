from pydantic import SecretStr

from salver_server.providers import Access, Endpoint, discover


def test_the_providers_of_this_build() -> None:
    assert sorted(discover()) == ["demo", "pydantic-ai"]
    assert all(spec.title for spec in discover().values())


def test_the_demo_needs_nothing() -> None:
    demo = discover()["demo"]
    assert (demo.pack, demo.needs_model) == (None, False)
    assert demo.endpoint(Access(openai_base_url="https://api.test/v1")) is None


def test_an_openai_compatible_model_is_called_where_the_owner_said() -> None:
    provider = discover()["pydantic-ai"]
    key = SecretStr("sk-1")
    access = Access(
        openai_base_url="http://nas.test/v1", openai_api_key=key, openai_plain_http=True
    )
    assert (provider.pack, provider.needs_model) == ("pydantic-ai", True)
    assert provider.endpoint(access) == Endpoint(url="http://nas.test/v1", key=key, plain=True)
    assert "sk-1" not in repr(provider.endpoint(access))
