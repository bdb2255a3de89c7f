"""The stored form of every part of a flow: how it is read, written and described, in one place.

A form reads whatever it is given: what is wrong is added to the problems, and the value that comes back then only
serves to read on, because a flow with problems is never used.
"""

from .records import STEPS as STEPS
from .records import Field as Field
from .records import OneOf as OneOf
from .records import Record as Record
from .records import StepForm as StepForm
from .values import OBJECT as OBJECT
from .values import AnyObject as AnyObject
from .values import Form as Form
from .values import ListOf as ListOf
from .values import Nullable as Nullable
from .values import Value as Value
