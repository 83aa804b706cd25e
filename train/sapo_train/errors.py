"""Every error a user of the trainer can meet; each message says the thing, the value, the rule and the cure."""

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "EngineError",
    "ModelError",
    "NonFinite",
    "PeerFailed",
    "RewardError",
    "SaveError",
    "ShapeError",
    "Stopped",
    "TrackingError",
    "TrainError",
]


class TrainError(Exception):
    """Base of all errors of `sapo_train`."""


class ConfigError(TrainError):
    """A recipe, a flag or their combination that cannot be a run."""


class DataError(TrainError):
    """A problem set that cannot be read, or a row in it that is not a problem."""


class ModelError(TrainError):
    """A model or tokenizer that cannot be loaded or cannot be trained here."""


class EngineError(TrainError):
    """A rollout engine that cannot be started, is gone, or answers what is no completion."""


class RewardError(TrainError):
    """A reward that is None, NaN, an exception or does not come, with the sample it was asked about."""


class ShapeError(TrainError):
    """Tensors that do not fit together."""


class CheckpointError(TrainError):
    """A run directory or checkpoint that is missing, truncated or altered."""


class SaveError(TrainError):
    """A checkpoint that cannot be written; earlier ones are untouched."""


class TrackingError(TrainError):
    """A tracker that was asked for and is not installed, or does not begin."""


class NonFinite(TrainError):
    """A loss or gradient that is not finite; the optimizer step was not made."""


class PeerFailed(TrainError):
    """Another process of the run ended, and with it the run; that process says why."""


class Stopped(Exception):
    """The run was asked to stop, and its state is saved."""
