"""Everything wrong with what a user asked to see. Each message: the thing, the value, the rule, the cure."""


class SapoAnalysisError(Exception):
    """Base of every error a user of this package can cause."""


class FigureError(SapoAnalysisError):
    """A figure that cannot be drawn or written as asked."""


class RunError(SapoAnalysisError):
    """A directory that is not a run of the trainer, or whose files cannot be read."""
