"""What comes with messages: named safely, known by what is inside, at rest before anybody is told."""

from salver_server.files.uploads import Uploads

__all__ = ["Uploads"]
