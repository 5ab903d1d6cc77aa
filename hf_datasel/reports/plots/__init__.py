"""One file per figure. Each has `plot_…`, which writes a PNG, and `figure_…`, which returns the matplotlib Figure."""

from hf_datasel.reports.plots.histogram import figure_histogram, plot_histogram
from hf_datasel.reports.plots.independence import figure_independence, plot_independence


__all__ = ["figure_histogram", "figure_independence", "plot_histogram", "plot_independence"]
