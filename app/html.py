"""Pages: templates with their context, filters, and the ids and addresses they use."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2_fragments import render_block
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from app import i18n
from app.assets import static_url
from app.models import User
from app.queue.spans import roughly
from app.settings import ROOT, get_settings

TEMPLATES_DIR = ROOT / "templates"
THEMES = ("system", "light", "dark")
BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class Context(Protocol):
    """The dataclass of a page; each field is a name in its template."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def render(
    request: Request,
    template: str,
    context: Context | None = None,
    block: str | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """A whole page, or one block of it for htmx to put in place."""
    names = {**_surroundings(request), **(_names(context) if context is not None else {})}
    text = (
        render_block(environment(), template, block, names)
        if block
        else environment().get_template(template).render(names)
    )
    # A lone surrogate may come from a JSON body and has no UTF-8 form.
    response = HTMLResponse(text.encode("utf-8", "replace"), status, headers)
    response.headers["Vary"] = "HX-Request, Cookie, Accept-Language"
    return response


def _surroundings(request: Request) -> dict[str, Any]:
    return {
        "request": request,
        "actor": actor_of(request),
        "language": i18n.language(),
        "languages": i18n.LANGUAGES,
        "theme": theme_of(request),
        "site": site_of(request),
    }


def _names(context: Context) -> dict[str, Any]:
    return {field.name: getattr(context, field.name) for field in fields(context)}


def actor_of(request: Request) -> User | None:
    """The person that `security.current_user` found, if the route asked for one."""
    return getattr(request.state, "actor", None)


def site_of(request: Request) -> str:
    """The address of this site as people use it, without a slash at its end."""
    return (get_settings().public_url or str(request.base_url)).rstrip("/")


def theme_of(request: Request) -> str:
    chosen = request.cookies.get("theme")
    return chosen if chosen in THEMES else "system"


def wants_block(request: Request) -> bool:
    """Whether htmx asks for a part of the page it shows."""
    return request.headers.get("HX-Request") == "true"


@cache
def environment() -> Environment:
    """The one template environment. Every template is escaped, whatever its name."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES_DIR),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    translations = i18n.JinjaTranslations
    made.install_gettext_callables(  # type: ignore[attr-defined]
        translations.gettext, translations.ngettext, newstyle=True
    )
    # Jinja's own `_` makes a new context at each call inside a loop.
    made.globals.update({"_": translated, "svg_icon": svg_icon})
    made.globals.update(static_url=static_url, dom_id=dom_id, sentence=i18n.sentence)
    made.filters.update(
        bytes=bytes_, duration=duration, roughly=roughly, number=number, moment=moment
    )
    made.filters.update(told=told, said=said)
    return made


def translated(text: str, **values: Any) -> Markup:
    """A sentence of a template in the reader's language; its values are escaped."""
    found = Markup(i18n.gettext(text))
    return found % values if values else found


@cache
def svg_icon(name: str, kind: str = "") -> Markup:
    """An icon from static/icons.svg."""
    address = f"{static_url('icons.svg')}#{name}"
    return Markup(
        '<svg class="icon {}" aria-hidden="true" focusable="false"><use href="{}"></use></svg>'
    ).format(kind, address)


def said(text: Any) -> Any:
    """A text of a lab or of a stored row in the reader's language; other values as they are.

    Not `_()`: that is for sentences in templates. It takes them for safe HTML and for format
    strings.
    """
    return i18n.gettext(text) if isinstance(text, str) else text


def told(reason: Mapping[str, Any] | None) -> Markup:
    """The sentence of a stored reason; a script shows its instants in the reader's own zone."""
    if not reason:
        return Markup("")
    filled = i18n.fillings(reason.get("values") or {}, _hour)
    return escape(i18n.gettext(reason["message"])).format(**filled)


def _hour(value: datetime) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(value.isoformat(), i18n.hour(value))


def dom_id(thing: object, part: str = "") -> str:
    """`run-3f2a…-state`: the id of an element that shows a part of a thing."""
    kind = type(thing).__name__.lower()
    key = getattr(thing, "id", None) or getattr(thing, "name", "")
    return "-".join(filter(None, (kind, str(key), part)))


def bytes_(value: float | None, digits: int = 1) -> str:
    """A size with its unit: 1.5 GiB."""
    if value is None:
        return "–"
    size, unit = float(value), 0
    while abs(size) >= 1024 and unit < len(BYTE_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{i18n.number(size, digits if unit else 0)} {BYTE_UNITS[unit]}"


def duration(seconds: float | None) -> str:
    """A length of time in its two largest units: 2 h 05 min."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if seconds < 10:
        return i18n.gettext("%(count)s s") % {"count": i18n.number(seconds, 1)}
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return i18n.gettext("%(days)s d %(hours)s h") % {"days": days, "hours": hours}
    if hours:
        return i18n.gettext("%(hours)s h %(minutes)s min") % {"hours": hours, "minutes": minutes}
    if minutes:
        return i18n.gettext("%(minutes)s min %(seconds)s s") % {"minutes": minutes, "seconds": rest}
    return i18n.gettext("%(count)s s") % {"count": whole}


def number(value: float | None, digits: int = 0) -> str:
    """A number in the reader's form; not-a-number and infinities by name."""
    if value is None:
        return "–"
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "∞", "-inf": "−∞"}[str(float(value))]
    return i18n.number(value, digits)


def moment(value: datetime | None) -> Markup | str:
    """An instant as a `<time>` element; a script shows it in the reader's own zone."""
    if value is None:
        return "–"
    iso = value.isoformat(timespec="seconds")
    return Markup('<time datetime="{}">{}</time>').format(iso, escape(i18n.moment(value)))
