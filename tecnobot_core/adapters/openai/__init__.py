"""Language models and transcription behind any OpenAI-compatible API."""

from .chat import OpenAIChat as OpenAIChat
from .transcription import OpenAITranscriber as OpenAITranscriber
