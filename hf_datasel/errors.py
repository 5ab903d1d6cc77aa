"""Every error a user of this package can meet, by name.

A message puts the argument in backticks, then the value seen, what was expected, and what to do.
"""


class DataselError(Exception):
    """Base of all errors this package raises on purpose."""


class BadRow(DataselError):
    """A row, or a dataset's columns, cannot be read as training data."""


class BadRecipe(DataselError):
    """A recipe names something that does not exist, or gives it a wrong value. Lists every problem at once."""


class BadBudget(DataselError):
    """A rule asks for something its scored dataset cannot give."""


class OverlapError(DataselError):
    """Anchors also occur in the pool or in an evaluation set."""


class NoStep(DataselError):
    """A simulated step changed no weight, so its utility would be rounding noise."""


class PublishError(DataselError):
    """Nothing was published, unless the message says that it may have been."""


class MissingExtra(DataselError, ImportError):
    """An optional dependency is needed and not installed."""
