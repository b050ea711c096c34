"""Licences that have to be accepted before a data set is used."""

from datetime import UTC, datetime

from config.dataset import DataSet
from config.errors import SourceError
from config.settings import get_settings
from storage import ObjectStore, keys
from storage.raw_sets import Acceptance, Origin, read_acceptance, write

_LEFT_TO_HOST = "see Kaggle"


def check_licence(dataset: DataSet, store: ObjectStore, accept: bool = False) -> None:
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
    licence = state_licence(dataset)
    known = read_acceptance(store, dataset.name)
    if known is not None and known.licence == licence:
        return
    if not (accept or accepted_by_setting(dataset)):
        raise SourceError(
            f"{dataset.name} may not be free to use. Licence: {licence} If you may use it so, run "
            f"icanvas prepare {dataset.name} --accept-license; once is enough."
        )
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    record = Acceptance(licence=licence, homepage=dataset.homepage, accepted=today)
    write(store, keys.acceptance(dataset.name), record)


def accepted_by_setting(dataset: DataSet) -> bool:
    """Tell whether ``ICANVAS_ACCEPT_LICENSES`` names a data set, or all."""
    accepted = get_settings().accept_licenses.replace(",", " ").split()
    return dataset.name in accepted or "all" in accepted


def name_licence(dataset: DataSet, origin: Origin | None = None) -> str:
    """Return a data set's licence: as its host states it, where the catalogue leaves it to that."""
    stated = None if origin is None else origin.stated.get("licence")
    return str(stated) if stated and dataset.licence == _LEFT_TO_HOST else dataset.licence


def state_licence(dataset: DataSet, origin: Origin | None = None) -> str:
    """Return a data set's licence, what else there is to know, and where it is said."""
    page = f"See {dataset.homepage}" if dataset.homepage else None
    return " ".join(filter(None, (f"{name_licence(dataset, origin)}.", dataset.terms, page)))
