"""What a user can cause, each kind with the exit code that the command line answers."""


class MmsslError(ValueError):
    """One line that names the thing, shows what came and says what was expected."""

    exit_code = 1


class ConfigError(MmsslError):
    """A key, type or value in a config or on the command line that cannot be used."""

    exit_code = 2


class DataError(MmsslError):
    """A source that is missing, empty, unreadable or not what it is said to be."""

    exit_code = 3


class CheckpointError(MmsslError):
    """A checkpoint or an output folder that cannot be read, written or trusted."""

    exit_code = 4


class NumericError(MmsslError):
    """A loss or gradient that is not finite, or an encoder that has collapsed."""

    exit_code = 5


class HangError(MmsslError):
    """A worker or a process that died or stopped answering."""

    exit_code = 6


class Preempted(MmsslError):
    """Training was asked to stop (SIGTERM, Ctrl-C); the checkpoint is written and the same command resumes."""

    exit_code = 75
