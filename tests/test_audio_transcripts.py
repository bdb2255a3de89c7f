"""Transcripts of parts are one transcript, with the times of the whole."""

from tecnobot_core.audio import Clip, Segment, Transcript, join_transcripts


def clip(start_s: float, end_s: float | None) -> Clip:
    return Clip("recording.ogg", "audio/ogg", b"", start_s=start_s, end_s=end_s)


def test_times_are_those_of_the_whole_recording() -> None:
    first = Transcript("hola", (Segment(0, 1, "hola"),))
    second = Transcript("qué tal", (Segment(0.5, 2, "qué tal"),))
    joined = join_transcripts([(clip(0, 1180), first), (clip(1180, 2000), second)])
    assert joined == Transcript("hola qué tal", (Segment(0, 1, "hola"), Segment(1180.5, 1182, "qué tal")))


def test_plain_texts_are_joined() -> None:
    assert join_transcripts([(clip(0, 10), " uno dos "), (clip(10, 20), ""), (clip(20, 30), "tres")]).text == (
        "uno dos tres"
    )


def test_words_that_an_overlap_holds_twice_are_kept_once() -> None:
    parts = [(clip(0, 1200), "el pedido llega el Jueves,"), (clip(1197, 2000), "llega el jueves por la tarde")]
    assert join_transcripts(parts).text == "el pedido llega el Jueves, por la tarde"


def test_words_said_twice_stay_where_parts_do_not_overlap() -> None:
    assert join_transcripts([(clip(0, 1200), "no, no"), (clip(1200, 2000), "no sé")]).text == "no, no no sé"


def test_a_segment_that_ends_in_the_earlier_part_is_left_out() -> None:
    first = Transcript("a b", (Segment(1190, 1199, "a b"),))
    second = Transcript("b c", (Segment(0, 2, "b"), Segment(2, 9, "c")))
    joined = join_transcripts([(clip(0, 1200), first), (clip(1197, 2000), second)])
    assert joined == Transcript("a b c", (Segment(1190, 1199, "a b"), Segment(1199, 1206, "c")))


def test_of_a_clip_without_an_end_nothing_overlaps() -> None:
    assert join_transcripts([(clip(0, None), "uno uno"), (clip(0, None), "uno")]).text == "uno uno uno"
