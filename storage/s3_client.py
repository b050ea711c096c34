"""How S3 is spoken to: the client, and its errors as lines that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore import exceptions as boto
from botocore.config import Config
from urllib3.exceptions import HTTPError

from config.errors import (
    PREPARE_AGAIN,
    ConflictError,
    CorruptObjectError,
    IntegrityError,
    NotFoundError,
    StorageError,
)

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# Where the user has not set AWS_MAX_ATTEMPTS.
_DEFAULT_MAX_ATTEMPTS = 5

_CREDENTIAL_SETTINGS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"

_CREDENTIAL_ERRORS = (
    boto.NoCredentialsError,
    boto.CredentialRetrievalError,
    boto.NoAuthTokenError,
    boto.TokenRetrievalError,
)

# What S3 and its kin answer, and what to do about it. HEAD has no body, so its code is a number.
_ADVICE = {
    "SignatureDoesNotMatch": "the secret key is wrong. Check AWS_SECRET_ACCESS_KEY or AWS_PROFILE.",
    "InvalidAccessKeyId": "it does not know the access key. Check AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and AWS_ENDPOINT_URL_S3.",
    "ExpiredToken": "the credentials have expired. Get new ones.",
    "InvalidToken": "it does not know the session token. Check AWS_SESSION_TOKEN.",
    "RequestTimeTooSkewed": "this machine's clock is wrong. Set it.",
    "AccessDenied": "the credentials do not allow it. Their policy must (docs/storage.md).",
    "403": f"wrong credentials, or a policy. Check {_CREDENTIAL_SETTINGS} (docs/storage.md).",
    "AuthorizationHeaderMalformed": "another region is expected. Set AWS_DEFAULT_REGION.",
    "PermanentRedirect": "the bucket is in another region. Set AWS_DEFAULT_REGION.",
    "301": "the bucket is in another region. Set AWS_DEFAULT_REGION.",
}


def create_client(read_timeout: float, attempts: int | None) -> "S3Client":
    """Return a client made from AWS's own settings: environment, profile, configuration file.

    Parameters
    ----------
    read_timeout : seconds without a byte after which an attempt is given up.
    attempts : how often a request is tried; AWS_MAX_ATTEMPTS or 5 when left out.

    Raises
    ------
    StorageError
        If the settings do not make sense.
    """
    try:
        botocore_session = botocore.session.get_session()
        attempts = (
            attempts
            or botocore_session.get_config_variable("max_attempts")
            or _DEFAULT_MAX_ATTEMPTS
        )
        # The default of AWS's own setting is the mode that it advises against.
        mode = botocore_session.get_config_variable("retry_mode")
        config = Config(
            retries={
                "mode": "adaptive" if mode == "adaptive" else "standard",
                "total_max_attempts": attempts,
            },
            connect_timeout=min(5, read_timeout),
            read_timeout=read_timeout,
            # A pool that is too small throws connections away: tasks times parts at once.
            max_pool_connections=32,
            tcp_keepalive=True,
            user_agent_extra="icanvas",
        )
        client = boto3.Session(botocore_session=botocore_session).client("s3", config=config)
    except boto.PartialCredentialsError as error:
        raise StorageError(
            f"There are no whole credentials for S3. Set {_CREDENTIAL_SETTINGS}."
        ) from error
    except (boto.BotoCoreError, ValueError) as error:
        # The cause is left out: it may quote an address with a password.
        raise StorageError(
            f"AWS's settings do not make an S3 client ({type(error).__name__}). Check AWS_PROFILE, "
            "AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_S3 (http://host:port) and ~/.aws/config."
        ) from None
    if "@" in urlsplit(client.meta.endpoint_url).netloc:
        raise StorageError(
            "The S3 endpoint holds a name or password. Take it out of AWS_ENDPOINT_URL_S3; "
            f"credentials go into {_CREDENTIAL_SETTINGS}."
        )
    return client


@contextmanager
def translate_errors(endpoint: str, verb: str, url: str) -> Iterator[None]:
    """Turn the client's errors into ours.

    Parameters
    ----------
    endpoint : URL of the service.
    verb, place : what is being done, to which ``s3://`` URL, for the message.

    Raises
    ------
    NotFoundError
        If there is no such object.
    ConflictError
        If a condition did not hold.
    CorruptObjectError
        If bytes are not those that were written.
    IntegrityError
        If bytes did not arrive whole.
    StorageError
        For everything else.
    """
    try:
        yield
    except boto.ClientError as error:
        raise _translate_response(error, endpoint, verb, url) from error
    except _CREDENTIAL_ERRORS as error:
        raise StorageError(
            f"There are no credentials to {verb} {url} at {endpoint}. Set {_CREDENTIAL_SETTINGS}."
        ) from error
    except (boto.FlexibleChecksumError, boto.ChecksumError) as error:
        raise CorruptObjectError(corrupt_object_message(url)) from error
    # The last one where TLS breaks within a body, which botocore passes on as it is.
    except (boto.IncompleteReadError, boto.ResponseStreamingError, HTTPError) as error:
        raise IntegrityError(f"{endpoint} broke off in the middle of {url}. Run again.") from error
    except (boto.ReadTimeoutError, boto.ConnectTimeoutError) as error:
        raise StorageError(
            f"{endpoint} does not answer: cannot {verb} {url}. Check that it is well, and run "
            "again."
        ) from error
    except (boto.ConnectionError, boto.HTTPClientError) as error:
        raise StorageError(
            f"{endpoint} cannot be reached ({type(error).__name__}) to {verb} {url}. Check that "
            "it runs, the network, and AWS_ENDPOINT_URL_S3."
        ) from error
    except boto.BotoCoreError as error:
        raise StorageError(
            f"Cannot {verb} {url} at {endpoint}: {type(error).__name__}. Check AWS's settings "
            "(docs/storage.md)."
        ) from error


def corrupt_object_message(url: str) -> str:
    """Return what to say of an object whose bytes are not those that were written."""
    return (
        f"{url} fails its SHA-256 check: it was damaged, or changed by another program. {PREPARE_AGAIN}"
    )


def _translate_response(
    error: boto.ClientError, endpoint: str, verb: str, url: str
) -> StorageError | IntegrityError:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        bucket = url.split("/")[2]
        return StorageError(
            f"There is no bucket {bucket} at {endpoint}: cannot {verb} {url}. Make it, or "
            "correct --store, ICANVAS_STORE or AWS_ENDPOINT_URL_S3."
        )
    if code in ("NoSuchKey", "404"):
        return NotFoundError(f"The store holds no {url} ({endpoint}).")
    if status == 412 or code == "ConditionalRequestConflict":
        return ConflictError(f"{url} was changed by someone else meanwhile. Run again.")
    if code == "InvalidRange":
        return CorruptObjectError(f"{url} is cut short. {PREPARE_AGAIN}")
    if code in ("BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"):
        return IntegrityError(f"{url} was damaged on its way to {endpoint}. Run again.")
    advice = _ADVICE.get(code) or (_ADVICE["403"] if status == 403 else "")
    if advice:
        return StorageError(f"{endpoint} refuses to {verb} {url} ({code}): {advice}")
    is_transient = status in (429, 500, 502, 503, 504)
    return StorageError(
        f"{endpoint} cannot {verb} {url}: {code} (HTTP {status}). "
        + ("It is busy or unwell: run again later." if is_transient else "See docs/storage.md.")
    )
