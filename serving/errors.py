"""Errors of the API: the exception, and the table of error codes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorSpec:
    """What one error code is answered with.

    Attributes
    ----------
    status : int
        HTTP status code.
    message : str
        One sentence for the user: the cause and what to do.
    """

    status: int
    message: str


ERRORS = {
    "invalid": ErrorSpec(422, "The request is not valid. See /openapi.json for its format."),
    "unreadable": ErrorSpec(422, "The picture cannot be read. Send it again as PNG, JPEG or WebP."),
    "empty": ErrorSpec(422, "There is nothing drawn yet. Draw something, and a picture comes."),
    "no_key": ErrorSpec(401, "An API key is required. Send it in the header X-API-Key."),
    "unknown_model": ErrorSpec(404, "There is no model of that name. GET /v1/models lists them."),
    "not_found": ErrorSpec(404, "There is nothing at this address."),
    "not_allowed": ErrorSpec(405, "This address does not accept this method."),
    "slow": ErrorSpec(408, "The drawing took too long to arrive. Send it again."),
    "too_large": ErrorSpec(413, "The drawing is too large. Send a smaller one."),
    "wrong_type": ErrorSpec(
        415,
        "Send image/png, image/jpeg, image/webp or application/json, with a body of that type.",
    ),
    "too_many": ErrorSpec(429, "That was a little too fast. Wait a moment and try again."),
    "not_shown": ErrorSpec(451, "This picture is not shown. Draw something else."),
    "failed": ErrorSpec(500, "Something went wrong here. Try again."),
    "busy": ErrorSpec(503, "Many are drawing right now. Try again in a moment."),
    "no_model": ErrorSpec(503, "No model is ready yet. Try again later."),
}


class ApiError(Exception):
    """An error that the API answers with.

    Parameters
    ----------
    code : str
        A key of ``ERRORS``.
    message : str, optional
        A sentence that is more specific than the code's default message.
    retry_after : int, optional
        Seconds to wait before the next try, sent as ``Retry-After``.

    Raises
    ------
    KeyError
        If ``ERRORS`` has no such code.
    """

    def __init__(self, code: str, message: str | None = None, retry_after: int | None = None):
        self.spec = ERRORS[code]
        self.code = code
        self.message = message or self.spec.message
        self.retry_after = retry_after
        super().__init__(self.message)
