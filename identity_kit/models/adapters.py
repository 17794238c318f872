"""Putting an adapter on a model without the noise of the libraries that do it."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_adapters() -> Iterator[None]:
    """Passes over what peft and bitsandbytes say at every start: an inference kernel that is not installed, and names of
    transformers that peft uses and that are about to change. Errors are raised as ever."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
