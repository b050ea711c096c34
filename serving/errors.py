"""Why a request gets no picture: one exception, and one table of what may be answered."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorSpec:
    """One of the reasons.

    Attributes
    ----------
    status : of the answer.
    message : one sentence for whoever drew or wrote the program.
    """

    status: int
    message: str


ERRORS = {
    "invalid": ErrorSpec(422, "The request does not fit; see /openapi.json for what does."),
    "unreadable": ErrorSpec(422, "The picture cannot be read. Send it again as PNG, JPEG or WebP."),
    "empty": ErrorSpec(422, "There is nothing drawn yet. Draw something, and a picture comes."),
    "no_key": ErrorSpec(401, "An API key is needed here: send it as X-API-Key."),
    "unknown_model": ErrorSpec(404, "There is no model of that name. GET /v1/models lists them."),
    "not_found": ErrorSpec(404, "There is nothing here."),
    "not_allowed": ErrorSpec(405, "This method is not for this address."),
    "slow": ErrorSpec(408, "The drawing took too long to arrive. Send it again."),
    "too_large": ErrorSpec(413, "The drawing is too large. Send a smaller one."),
    "wrong_type": ErrorSpec(
        415,
        "Send image/png, image/jpeg, image/webp or application/json, and the content that it says.",
    ),
    "too_many": ErrorSpec(429, "That was a little too fast. Wait a moment and try again."),
    "not_shown": ErrorSpec(451, "This picture is not shown. Draw something else."),
    "failed": ErrorSpec(500, "Something went wrong here. Try again."),
    "busy": ErrorSpec(503, "Many are drawing right now. Try again in a moment."),
    "no_model": ErrorSpec(503, "No model is ready yet. Try again later."),
}


class ApiError(Exception):
    """A request that is answered with an error.

    Parameters
    ----------
    code : one of ``KINDS``.
    message : a sentence that says more than the kind's own.
    retry_after : seconds to wait before another try.
    """

    def __init__(self, code: str, message: str | None = None, retry_after: int | None = None):
        self.spec = ERRORS[code]
        self.code = code
        self.message = message or self.spec.message
        self.retry_after = retry_after
        super().__init__(self.message)
