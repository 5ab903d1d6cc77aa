"""One file per figure. Each has `plot_…`, which writes a PNG, and `figure_…`, which returns the matplotlib Figure."""

from hf_datasel.reports.plots.arms import figure_arms, plot_arms
from hf_datasel.reports.plots.composition import figure_composition, plot_composition
from hf_datasel.reports.plots.convergence import figure_convergence, plot_convergence
from hf_datasel.reports.plots.histogram import figure_histogram, plot_histogram
from hf_datasel.reports.plots.independence import figure_independence, plot_independence
from hf_datasel.reports.plots.indicator_weights import figure_indicator_weights, plot_indicator_weights
from hf_datasel.reports.plots.overlap import figure_overlap, plot_overlap
from hf_datasel.reports.plots.pareto import figure_pareto, plot_pareto
from hf_datasel.reports.plots.rows import figure_rows, plot_rows
from hf_datasel.reports.plots.utility_curve import figure_utility_curve, plot_utility_curve


__all__ = [
    "figure_arms",
    "figure_composition",
    "figure_convergence",
    "figure_histogram",
    "figure_independence",
    "figure_indicator_weights",
    "figure_overlap",
    "figure_pareto",
    "figure_rows",
    "figure_utility_curve",
    "plot_arms",
    "plot_composition",
    "plot_convergence",
    "plot_histogram",
    "plot_independence",
    "plot_indicator_weights",
    "plot_overlap",
    "plot_pareto",
    "plot_rows",
    "plot_utility_curve",
]
