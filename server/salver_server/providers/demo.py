"""The demo provider: no model, no key, no packages, no calls."""

from salver_server.providers import ProviderSpec

PROVIDER = ProviderSpec(name="demo", title="Demo (no model)", endpoint=lambda _: None)
