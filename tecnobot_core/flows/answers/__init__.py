"""Reads what a person answers to a question: as a value to keep, or refused with a reason."""

from .choices import read_yes_no as read_yes_no
from .limits import check_limits as check_limits
from .reading import read_answer as read_answer
from .refusals import AnswerRefused as AnswerRefused
from .refusals import Reason as Reason
from .sentences import explain as explain
