"""Licences that have to be accepted before a data set is used."""

from datetime import UTC, datetime

from config.dataset import DatasetConfig
from config.errors import SourceError
from config.settings import get_settings
from storage import ObjectStore, keys
from storage.json_objects import write_json
from storage.raw_sets import LicenseAcceptance, Origin, read_acceptance

_SEE_HOST = "see Kaggle"


def check_license(dataset: DatasetConfig, store: ObjectStore, accept: bool = False) -> None:
    """Ask for a restricted data set's licence to be accepted, once a store.

    Parameters
    ----------
    dataset : one whose licence is open asks for nothing.
    store : remembers what was accepted.
    accept : whether the user accepts it now.

    Raises
    ------
    SourceError
        If it is not accepted, or another licence was; the message says how to.
    """
    if not dataset.restricted:
        return
    terms = format_license_terms(dataset)
    known = read_acceptance(store, dataset.name)
    if known is not None and known.license == terms:
        return
    if not (accept or is_accepted_by_setting(dataset)):
        raise SourceError(
            f"{dataset.name} may not be free to use. License: {terms} If you may use it so, run "
            f"icanvas prepare {dataset.name} --accept-license; once is enough."
        )
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    record = LicenseAcceptance(license=terms, homepage=dataset.homepage, accepted=today)
    write_json(store, keys.license_acceptance(dataset.name), record)


def is_accepted_by_setting(dataset: DatasetConfig) -> bool:
    """Tell whether ``ICANVAS_ACCEPT_LICENSES`` names a data set, or all."""
    accepted = get_settings().accept_licenses.replace(",", " ").split()
    return dataset.name in accepted or "all" in accepted


def format_license_name(dataset: DatasetConfig, origin: Origin | None = None) -> str:
    """Return a data set's licence: as its host states it, where the catalogue leaves it to that."""
    stated = None if origin is None else origin.host_metadata.get("licence")
    return str(stated) if stated and dataset.license == _SEE_HOST else dataset.license


def format_license_terms(dataset: DatasetConfig, origin: Origin | None = None) -> str:
    """Return a data set's terms, what else there is to know, and where it is said."""
    page = f"See {dataset.homepage}" if dataset.homepage else None
    return " ".join(filter(None, (f"{format_license_name(dataset, origin)}.", dataset.terms, page)))
