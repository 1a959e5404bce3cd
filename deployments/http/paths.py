"""What a route takes as part of a path."""

from __future__ import annotations

from starlette.convertors import StringConvertor, register_url_convertor


class AnyText(StringConvertor):
    """Anything to the end of the path, ``/`` and line breaks too: that an id may not hold them is said by 422."""

    regex = "(?s:.+)"


register_url_convertor("any", AnyText())
