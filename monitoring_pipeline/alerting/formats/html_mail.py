"""A message as HTML for e-mail clients, and its charts as pictures that come along.

Everything is escaped by the template engine; nothing is fetched, no script runs, and a link is one of the web or none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from monitoring_pipeline.alerting.digests import Digest, Escalation
from monitoring_pipeline.alerting.evidence import LEAST_NORMAL
from monitoring_pipeline.alerting.figures import figures, how_long
from monitoring_pipeline.alerting.formats.png import chart_png
from monitoring_pipeline.alerting.messages import Chart, Message

if TYPE_CHECKING:
    from jinja2 import Template

_COLOURS = {Escalation.CRITICAL: "#b91c1c", Escalation.WARNING: "#b45309", Escalation.INFO: "#1d4ed8"}


@dataclass(frozen=True)
class HtmlMail:
    """The page, and its pictures (PNG) by the ids that it calls them by."""

    html: str
    pictures: Mapping[str, bytes]


CHARTS = 4
"""Charts of one digest."""


def charts_of(digest: Digest) -> tuple[Chart, ...]:
    """The metrics of a digest's worst anomalies over time, as far as the digest knows them."""
    charts: list[Chart] = []
    for one in digest.evidence:
        known = [value for value in one.values if math.isfinite(value)]
        if len(known) < LEAST_NORMAL or len(charts) == CHARTS:
            continue
        least, most = figures((min(known), max(known)), one.unit)
        caption = f"{least} to {most} in {how_long(len(one.values), one.granularity)}"
        charts.append(Chart(one.title, one.values, one.lower, one.upper, one.alarms, caption))
    return tuple(charts)


def html_mail(message: Message, *, prefix: str = "chart", charts: Sequence[Chart] = ()) -> HtmlMail:
    """Any message as HTML, with further charts at its end. `prefix` begins the ids of its pictures, which must differ
    between mails.
    """
    message = replace(message, blocks=(*message.blocks, *charts))
    pictures: dict[str, bytes] = {}
    names: dict[int, str] = {}
    for place, block in enumerate(message.blocks):
        drawn = _picture(block) if isinstance(block, Chart) else None
        if drawn is not None:
            names[place] = f"{prefix}-{place}"
            pictures[names[place]] = drawn
    link = message.link if message.link and re.match(r"https?://", message.link) else None
    html = _template().render(
        message=replace(message, link=link), colour=_COLOURS[message.level], pictures=names
    )
    return HtmlMail(html, pictures)


def _picture(chart: Chart) -> bytes | None:
    values, lower, upper = (
        np.array([np.nan if one is None else one for one in series], np.float64)
        for series in (chart.values, chart.lower, chart.upper)
    )
    return chart_png(
        values,
        lower=lower if len(lower) == len(values) else None,
        upper=upper if len(upper) == len(values) else None,
        marks=chart.marks,
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("monitoring_pipeline.alerting.formats", ""),
        autoescape=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("mail.html.j2")
