"""The audio engine of ffmpeg: one short-lived child for each job, with limits."""

from .engine import FfmpegEngine as FfmpegEngine
from .finding import Program as Program
from .finding import find_ffmpeg as find_ffmpeg
