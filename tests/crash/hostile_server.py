"""A server whose demo agents have a way out: the gateway stands open to their shell, and to nobody's model."""

from dataclasses import replace

from salver_server.__main__ import main
from salver_server.providers import Access, Endpoint, demo


def nowhere(_: Access) -> Endpoint:
    return Endpoint(url="http://127.0.0.1:9/v1")


demo.PROVIDER = replace(demo.PROVIDER, endpoint=nowhere)

if __name__ == "__main__":
    main()
