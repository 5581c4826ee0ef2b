"""The HTML page of a run: one file without external requests, written from what lies in the run folder."""

from mmssl.report.page import write_report

__all__ = ["write_report"]
