"""What is owed to a chat reaches it: in order, with its state on disk before and after each call."""

from salver_server.delivery.courier import Courier

__all__ = ["Courier"]
