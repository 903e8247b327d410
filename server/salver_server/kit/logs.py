"""One line per event: when, how bad, where, what, and the fields that it was said with."""

import logging

OWN = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


class Fields(logging.Formatter):
    """Appends whatever was given as `extra`, so that no sentence has to be built for it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 the standard library's name
        fields = {name: value for name, value in record.__dict__.items() if name not in OWN}
        line = super().formatMessage(record)
        return line + "".join(f" {name}={_shown(value)}" for name, value in fields.items())


def _shown(value: object) -> str:
    text = str(value)
    # What cannot be printed may be a sandbox's: it writes no lines of its own, and moves no cursor.
    return text if text and text.isprintable() and " " not in text else repr(text)


def to_stderr(level: int = logging.INFO) -> None:
    """Send everything from this level on to stderr; what libraries say only from warnings on."""
    handler = logging.StreamHandler()
    handler.setFormatter(Fields())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("salver_server").setLevel(level)
