"""The S3 client, and the translation of its errors into messages that say what to do."""

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

# Unless the user has set AWS_MAX_ATTEMPTS.
_DEFAULT_MAX_ATTEMPTS = 5

_CREDENTIAL_SETTINGS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"

_CREDENTIAL_ERRORS = (
    boto.NoCredentialsError,
    boto.CredentialRetrievalError,
    boto.NoAuthTokenError,
    boto.TokenRetrievalError,
)

# Advice by error code. A response to HEAD has no body, so its code is the HTTP status.
_ADVICE = {
    "SignatureDoesNotMatch": "the secret key is wrong. Check AWS_SECRET_ACCESS_KEY or AWS_PROFILE.",
    "InvalidAccessKeyId": "the access key is unknown. Check AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and AWS_ENDPOINT_URL_S3.",
    "ExpiredToken": "the credentials have expired. Get new ones.",
    "InvalidToken": "the session token is unknown. Check AWS_SESSION_TOKEN.",
    "RequestTimeTooSkewed": "this machine's clock is wrong. Correct it.",
    "AccessDenied": "the credentials do not allow it. Extend their policy (docs/storage.md).",
    "403": f"wrong credentials, or a policy. Check {_CREDENTIAL_SETTINGS} (docs/storage.md).",
    "AuthorizationHeaderMalformed": "the region is wrong. Set AWS_DEFAULT_REGION.",
    "PermanentRedirect": "the bucket is in another region. Set AWS_DEFAULT_REGION.",
    "301": "the bucket is in another region. Set AWS_DEFAULT_REGION.",
}


def create_client(read_timeout: float, attempts: int | None) -> "S3Client":
    """Create a client from AWS's own settings: environment, profile, configuration file.

    Parameters
    ----------
    read_timeout : float, seconds
        An attempt fails after this time without a byte.
    attempts : int, ≥ 1, or None
        How often a request is tried in all. None is AWS_MAX_ATTEMPTS, or 5.

    Returns
    -------
    botocore.client.S3
        Safe to share between threads.

    Raises
    ------
    StorageError
        If the settings are incomplete or invalid, or the endpoint contains credentials.
    """
    try:
        botocore_session = botocore.session.get_session()
        attempts = (
            attempts
            or botocore_session.get_config_variable("max_attempts")
            or _DEFAULT_MAX_ATTEMPTS
        )
        # AWS advises against its own default, the legacy mode.
        mode = botocore_session.get_config_variable("retry_mode")
        config = Config(
            retries={
                "mode": "adaptive" if mode == "adaptive" else "standard",
                "total_max_attempts": attempts,
            },
            connect_timeout=min(5, read_timeout),
            read_timeout=read_timeout,
            # At least concurrent tasks × concurrent parts: connections beyond it are discarded.
            max_pool_connections=32,
            tcp_keepalive=True,
            user_agent_extra="icanvas",
        )
        client = boto3.Session(botocore_session=botocore_session).client("s3", config=config)
    except boto.PartialCredentialsError as error:
        raise StorageError(
            f"The credentials for S3 are incomplete. Set {_CREDENTIAL_SETTINGS}."
        ) from error
    except (boto.BotoCoreError, ValueError) as error:
        # Omit the cause: it may quote a URL that contains a password.
        raise StorageError(
            f"AWS's settings are invalid ({type(error).__name__}). Check AWS_PROFILE, "
            "AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_S3 (http://host:port) and ~/.aws/config."
        ) from None
    if "@" in urlsplit(client.meta.endpoint_url).netloc:
        raise StorageError(
            "The S3 endpoint contains a user name or password. Remove it from AWS_ENDPOINT_URL_S3 "
            f"and set {_CREDENTIAL_SETTINGS}."
        )
    return client


@contextmanager
def translate_errors(endpoint: str, verb: str, url: str) -> Iterator[None]:
    """Translate the client's errors into ours, for the duration of the ``with`` block.

    Parameters
    ----------
    endpoint : str
        URL of the service, for the message.
    verb : str
        What is being done, for the message, such as ``read``.
    url : str
        ``s3://`` URL of the object, for the message.

    Raises
    ------
    NotFoundError
        If the object does not exist.
    ConflictError
        If a condition of the request did not hold.
    CorruptObjectError
        If the object's bytes differ from those that were written.
    IntegrityError
        If the bytes did not arrive completely.
    StorageError
        For every other error of the client.
    """
    try:
        yield
    except boto.ClientError as error:
        raise _translate_response(error, endpoint, verb, url) from error
    except _CREDENTIAL_ERRORS as error:
        raise StorageError(
            f"Cannot {verb} {url} at {endpoint}: no credentials. Set {_CREDENTIAL_SETTINGS}."
        ) from error
    except (boto.FlexibleChecksumError, boto.ChecksumError) as error:
        raise CorruptObjectError(corrupt_object_message(url)) from error
    # botocore passes on urllib3's HTTPError if TLS breaks within a body.
    except (boto.IncompleteReadError, boto.ResponseStreamingError, HTTPError) as error:
        raise IntegrityError(
            f"The connection to {endpoint} broke while reading {url}. Run again."
        ) from error
    except (boto.ReadTimeoutError, boto.ConnectTimeoutError) as error:
        raise StorageError(
            f"Cannot {verb} {url}: {endpoint} does not answer. Check the server, and run again."
        ) from error
    except (boto.ConnectionError, boto.HTTPClientError) as error:
        raise StorageError(
            f"Cannot {verb} {url}: {endpoint} cannot be reached ({type(error).__name__}). Check "
            "that the server runs, the network, and AWS_ENDPOINT_URL_S3."
        ) from error
    except boto.BotoCoreError as error:
        raise StorageError(
            f"Cannot {verb} {url} at {endpoint}: {type(error).__name__}. Check AWS's settings "
            "(docs/storage.md)."
        ) from error


def corrupt_object_message(url: str) -> str:
    """Return the message for an object whose bytes differ from those that were written.

    Parameters
    ----------
    url : str
        ``s3://`` URL of the object.
    """
    return (
        f"{url} fails its SHA-256 check: it is corrupt, or was changed by another program. "
        f"{PREPARE_AGAIN}"
    )


def _translate_response(
    error: boto.ClientError, endpoint: str, verb: str, url: str
) -> StorageError | IntegrityError:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        bucket = url.split("/")[2]
        return StorageError(
            f"Cannot {verb} {url}: bucket {bucket} does not exist at {endpoint}. Create it, or "
            "correct --store, ICANVAS_STORE or AWS_ENDPOINT_URL_S3."
        )
    if code in ("NoSuchKey", "404"):
        return NotFoundError(f"{url} does not exist at {endpoint}.")
    if status == 412 or code == "ConditionalRequestConflict":
        return ConflictError(f"{url} was changed by another process. Run again.")
    if code == "InvalidRange":
        return CorruptObjectError(f"{url} is truncated. {PREPARE_AGAIN}")
    if code in ("BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"):
        return IntegrityError(f"{url} was corrupted during the transfer to {endpoint}. Run again.")
    advice = _ADVICE.get(code) or (_ADVICE["403"] if status == 403 else "")
    if advice:
        return StorageError(f"Cannot {verb} {url}: {endpoint} responded {code}: {advice}")
    is_transient = status in (429, 500, 502, 503, 504)
    return StorageError(
        f"Cannot {verb} {url}: {endpoint} responded {code} (HTTP {status}). "
        + ("The server is overloaded: run again later." if is_transient else "See docs/storage.md.")
    )
