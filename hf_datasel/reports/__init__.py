"""What people look at: is the scoring sound, where could one cut, what was kept. Figures are in `reports.plots`, the page
is in `reports.page`.

Nothing here imports matplotlib until a figure is drawn.
"""

from hf_datasel.reports.independence import Independence, independence
from hf_datasel.reports.page import write_report
from hf_datasel.reports.utility_curve import UtilityCurve, utility_curve


__all__ = ["Independence", "UtilityCurve", "independence", "utility_curve", "write_report"]
