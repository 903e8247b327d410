"""The demo provider: no model, no key, no packages, no calls."""

from salver_server.providers import ProviderSpec

PROVIDER = ProviderSpec(
    name="demo", title="Demo (no model)", runner="demo", wire=None, key="no", pack=None
)
