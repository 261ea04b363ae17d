"""Jinja templates that come with the package."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING, Any

from nfbmr.errors import MissingExtraError
from nfbmr.system.packages import how_to_install

if TYPE_CHECKING:
    from jinja2 import Template


def load_template(package: str, name: str, **filters: Callable[..., Any]) -> Template:
    """Returns a template that escapes what it is given and fails on a name it is not given.

    Args:
        package: that holds the file, such as `nfbmr.evaluation.report`.
        name: of the file.
        **filters: by the names that the template calls them by.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        message = f"The page needs jinja2; {how_to_install('report')}"
        raise MissingExtraError(message) from error
    source = resources.files(package).joinpath(name)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(filters)
    return environment.from_string(source.read_text(encoding="utf-8"))
