"""A server whose demo agents have a way out: the gateway stands open to their shell, and to nobody's model."""

from dataclasses import replace

from salver_server.__main__ import main
from salver_server.providers import demo

demo.PROVIDER = replace(
    demo.PROVIDER, wire="chat", base_url="http://127.0.0.1:9/v1", suggested="nobody"
)

if __name__ == "__main__":
    main()
