"""AudioPreprocessor: turns a recording into something small that can be transcribed."""

from .clips import Clip as Clip
from .clips import Clips as Clips
from .facts import AudioFacts as AudioFacts
from .facts import read_facts as read_facts
from .limits import MODEL_MAX_CLIP_S as MODEL_MAX_CLIP_S
from .limits import max_clip_s_of as max_clip_s_of
from .ports import AudioEngine as AudioEngine
from .ports import CoversChild as CoversChild
from .ports import Encoding as Encoding
from .ports import Span as Span
from .ports import StartsChildren as StartsChildren
from .preprocessor import AudioPreprocessor as AudioPreprocessor
from .transcoding import Progress as Progress
from .transcripts import Segment as Segment
from .transcripts import Transcript as Transcript
from .transcripts import join_transcripts as join_transcripts
