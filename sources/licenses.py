"""Licenses that a user has to accept before a data set is used."""

from datetime import UTC, datetime

from config.dataset import DatasetConfig
from config.errors import SourceError
from config.settings import get_settings
from storage import ObjectStore, keys
from storage.json_objects import write_json
from storage.raw_sets import LicenseAcceptance, Origin, read_acceptance

_SEE_HOST = "see Kaggle"


def check_license(dataset: DatasetConfig, store: ObjectStore, accept: bool = False) -> None:
    """Check that the license of a restricted data set is accepted, once per store.

    Parameters
    ----------
    dataset : DatasetConfig
        The data set. An unrestricted one needs no acceptance.
    store : ObjectStore
        Store that holds the record of the acceptance.
    accept : bool
        Whether the user accepts the license now.

    Raises
    ------
    SourceError
        If the license is not accepted, or a different license was accepted. The message says how
        to accept it.
    """
    if not dataset.restricted:
        return
    terms = format_license_terms(dataset)
    acceptance = read_acceptance(store, dataset.name)
    if acceptance is not None and acceptance.license == terms:
        return
    if not (accept or is_accepted_by_setting(dataset)):
        raise SourceError(
            f"{dataset.name} may not be free to use. License: {terms} If you may use it under "
            f"these terms, run icanvas prepare {dataset.name} --accept-license; once is enough."
        )
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    record = LicenseAcceptance(license=terms, homepage=dataset.homepage, accepted=today)
    write_json(store, keys.license_acceptance(dataset.name), record)


def is_accepted_by_setting(dataset: DatasetConfig) -> bool:
    """Return whether ``ICANVAS_ACCEPT_LICENSES`` names a data set, or all.

    Parameters
    ----------
    dataset : DatasetConfig
        The data set.

    Returns
    -------
    bool
        Whether its license is accepted by the setting.
    """
    accepted = get_settings().accept_licenses.replace(",", " ").split()
    return dataset.name in accepted or "all" in accepted


def format_license_name(dataset: DatasetConfig, origin: Origin | None = None) -> str:
    """Return the license of a data set.

    Parameters
    ----------
    dataset : DatasetConfig
        The data set.
    origin : Origin or None
        Its origin, with the license that the host states.

    Returns
    -------
    str
        The host's license if the catalogue refers to the host, else the catalogue's.
    """
    host_license = None if origin is None else origin.host_metadata.get("licence")
    return str(host_license) if host_license and dataset.license == _SEE_HOST else dataset.license


def format_license_terms(dataset: DatasetConfig, origin: Origin | None = None) -> str:
    """Return the license, further terms and the homepage of a data set as one line.

    Parameters
    ----------
    dataset : DatasetConfig
        The data set.
    origin : Origin or None
        Its origin, with the license that the host states.

    Returns
    -------
    str
        Sentences.
    """
    page = f"See {dataset.homepage}" if dataset.homepage else None
    return " ".join(filter(None, (f"{format_license_name(dataset, origin)}.", dataset.terms, page)))
