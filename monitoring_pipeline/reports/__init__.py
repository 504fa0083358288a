"""The report of a week, or of any period: drift, quality, performance and incidents of datasets as one HTML file.

`build_report` gathers and draws; it writes nothing and sends nothing. Whoever does takes the `Report`: a page that
fetches nothing, with a subject and a text for a message that carries it. `send_report` sends it, once to each channel.
"""

from __future__ import annotations

from monitoring_pipeline.reports.period import Period
from monitoring_pipeline.reports.report import Report, build_report, write_report
from monitoring_pipeline.reports.sending import Sent, report_channels, send_report

__all__ = ["Period", "Report", "Sent", "build_report", "report_channels", "send_report", "write_report"]
