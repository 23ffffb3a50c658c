"""Every error that gdnet raises on purpose: what was expected, what came, and what to do.

All of them are `ValueError` or `TypeError` as well, so that code which knows nothing of gdnet catches them.
"""


class GdnetError(Exception):
    """Base class of all errors raised by gdnet."""


class ShapeError(GdnetError, ValueError):
    """Sizes that do not fit together; the message names the layer or the argument."""


class DataError(GdnetError, ValueError):
    """Data that cannot be trained on: empty, of different lengths, NaN, labels out of range."""


class OptionError(GdnetError, ValueError):
    """An option outside its domain: a negative learning rate, an unknown method, `Dense(0)`."""


class ArrayError(GdnetError, TypeError):
    """Arrays of the wrong kind: another library, another device, integers where reals are needed."""


class DeviceError(GdnetError, ValueError):
    """A device or array library that is unknown or cannot be used here.

    `code` tells the cause in one word, for programs; the message tells the cause and the remedy, for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple:  # by default Python would make it again from the message alone
        return type(self), (self.code, *self.args), self.__dict__


class CompileError(GdnetError, ValueError):
    """A step that cannot be compiled: it reads a value, or changes something besides giving results."""


class FileError(GdnetError, ValueError):
    """A model, checkpoint or data file that is damaged, of another network, or cannot be written."""


class NotBuilt(GdnetError, ValueError):
    """A network whose input size is not known yet, asked for something that needs it."""
