"""Licences that have to be accepted before a data set is used."""

from datetime import UTC, datetime

from datasets.entry import DataSet
from errors import SourceError
from settings import get_settings
from storage import ObjectStore, keys
from storage.rawsets import Acceptance, read_acceptance, write


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
    known = read_acceptance(store, dataset.name)
    if known is not None and known.licence == dataset.licence:
        return
    accepted = get_settings().accept_licenses.replace(",", " ").split()
    if not (accept or dataset.name in accepted or "all" in accepted):
        raise SourceError(
            f"{dataset.name} may not be free to use. Licence: {dataset.licence}. "
            f"{dataset.terms or ''} See {dataset.homepage}. If you may use it so, run again with "
            "--accept-license; once is enough."
        )
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    record = Acceptance(licence=dataset.licence, homepage=dataset.homepage, accepted=today)
    write(store, keys.acceptance(dataset.name), record)
