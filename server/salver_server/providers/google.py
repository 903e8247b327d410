"""Google's Gemini, by its generateContent."""

from salver_server.providers import ProviderSpec

PROVIDER = ProviderSpec(
    name="google",
    title="Google Gemini",
    wire="google",
    base_url="https://generativelanguage.googleapis.com",
    suggested="gemini-2.5-flash",
    keys_at="https://aistudio.google.com/apikey",
)
