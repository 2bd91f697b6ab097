"""How fast others send."""

from peer.exchange.meter import Meter

KIB = 1024


def test_all_streams_of_a_sender_count_together_from_the_first_part_on() -> None:
    meter = Meter()
    for number in range(11):
        meter.note(b"a", 32 * KIB, 100.0 + number / 10)
        meter.note(b"b", 4 * KIB, 100.0 + number / 10)
    assert meter.rates()[b"a"] == 10 * 32 * KIB
    assert meter.rates()[b"b"] == 40 * KIB


def test_too_little_to_tell_is_not_told() -> None:
    meter = Meter()
    meter.note(b"a", 1 << 20, 1.0)
    meter.note(b"b", KIB, 1.0)
    meter.note(b"b", KIB, 2.0)
    assert meter.rates() == {}
