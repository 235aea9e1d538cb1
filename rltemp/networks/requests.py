"""Checks of the networks that a recipe, possibly from an untrusted source, asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rltemp.errors import InputError
from rltemp.networks.external import check_external_name
from rltemp.networks.registry import LIBRARIES, check_options, find_network, make_network
from rltemp.seeding import make_generator

__all__ = ["check_request"]

_NAME_FILES = ("cache_dir", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_model_args")
_FETCH_WEIGHTS = ("pretrained", "weights")


def check_request(
    field: str,
    name: str,
    options: Mapping[str, Any],
    *,
    allow_download: bool = False,
    allow_code: bool = False,
) -> None:
    """Raise `InputError` for a network that could not be built, or must not be downloaded.

    Classes and images are not known yet: networks of other libraries are built with 10 classes and color images of 32
    px.

    Args:
        field: name of the recipe's field in errors, such as "student".
        name: of the network, as `make_network` takes it.
        options: of the network.
        allow_download: whether architecture and weights may be downloaded. Files are never read, since a library may
            run code in them.
        allow_code: whether a module that the name names may be imported; what it builds is known when it is built.

    Raises:
        InputError: for an unknown name or option, an option that names a file, or a download or an import that is not
            allowed.
    """
    library, _, model = name.partition(":")
    with _prefixed(f"{field}."):
        find_network(name, allow_code=allow_code)
        if library in LIBRARIES:
            check_external_name(library, model)
    with _prefixed(f"{field}.options: "):
        check_options(name, options, allow_code=allow_code)
    if library in LIBRARIES:
        _check_library_request(field, name, options, allow_download)


def _check_library_request(field: str, name: str, options: Mapping[str, Any], allow_download: bool) -> None:
    for option in options:
        if option in _NAME_FILES:
            raise InputError(f"{field}.options: {option} must not be given, since a recipe may come from a stranger")
    fetched = [f"options.{option}" for option in _FETCH_WEIGHTS if options.get(option)]
    if name.count(":") > 1:
        fetched.insert(0, f"name {name!r}")
    if fetched and not allow_download:
        raise InputError(f"{field}.{fetched[0]} would be downloaded: give --allow-download to allow it")
    if options and not fetched:
        with _prefixed(f"{field}.options: "):
            make_network(name, 10, (3, 32, 32), make_generator(0), **options)


@contextmanager
def _prefixed(prefix: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{prefix}{error}") from error
