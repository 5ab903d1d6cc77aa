"""The page people look at: one HTML file that needs no network."""

from hf_datasel.reports.page.writing import write_report


__all__ = ["write_report"]
