from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from dsm_stt.speech.v1.speech_pb2 import TurnOptions
from services.common.errors import BadConfig
from services.common.framing import FRAME_SAMPLES
from services.gateway.turn_settings import from_proto
from services.gateway.turns import TurnSettings

HORIZONS = (500, 1_000, 2_000, 3_000)


def test_the_defaults_with_pause_heads():
    assert from_proto(TurnOptions(enabled=True), HORIZONS) == TurnSettings(
        enabled=True,
        head=2,
        end_threshold=0.5,
        eager_end_threshold=None,
        min_silence_samples=0,
        max_silence_samples=5 * 24_000,
        flush_on_end=False,
    )


def test_the_defaults_without_pause_heads():
    found = from_proto(TurnOptions(), ())
    assert not found.enabled
    assert found.head is None
    assert found.min_silence_samples == 24_000
    assert found.max_silence_samples == 5 * 24_000


def test_every_option_is_taken_over():
    options = TurnOptions(
        enabled=True,
        end_threshold=0.75,
        eager_end_threshold=0.25,
        pause_horizon=Duration(nanos=500_000_000),
        min_silence=Duration(nanos=80_000_000),
        max_silence=Duration(seconds=2),
        flush_on_end=True,
    )
    assert from_proto(options, HORIZONS) == TurnSettings(
        enabled=True,
        head=0,
        end_threshold=0.75,
        eager_end_threshold=0.25,
        min_silence_samples=FRAME_SAMPLES,
        max_silence_samples=48_000,
        flush_on_end=True,
    )


def test_a_model_with_few_heads_uses_the_last_by_default():
    assert from_proto(TurnOptions(), (500, 1_000)).head == 1


def test_max_silence_follows_a_longer_min_silence():
    assert from_proto(TurnOptions(min_silence=Duration(seconds=8)), HORIZONS).max_silence_samples == 8 * 24_000


@pytest.mark.parametrize(
    "options",
    [
        TurnOptions(end_threshold=1.0),
        TurnOptions(end_threshold=1.0, eager_end_threshold=0.99),
        TurnOptions(min_silence=Duration()),
        TurnOptions(min_silence=Duration(seconds=10)),
        TurnOptions(max_silence=Duration(nanos=200_000_000)),
        TurnOptions(max_silence=Duration(seconds=60)),
        TurnOptions(min_silence=Duration(seconds=2), max_silence=Duration(seconds=2)),
        TurnOptions(pause_horizon=Duration(seconds=3)),
    ],
)
def test_the_limits_themselves_are_allowed(options):
    from_proto(options, HORIZONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TurnOptions(end_threshold=0), "end_threshold: wanted more than 0 and at most 1, got 0"),
        (TurnOptions(end_threshold=1.5), "end_threshold: .* got 1.5"),
        (TurnOptions(end_threshold=float("nan")), "end_threshold: .* got nan"),
        (TurnOptions(eager_end_threshold=0.5), r"less than end_threshold \(0.5\), got 0.5"),
        (TurnOptions(eager_end_threshold=0), "eager_end_threshold: wanted more than 0"),
        (TurnOptions(eager_end_threshold=float("nan")), "eager_end_threshold: .* got nan"),
        (
            TurnOptions(pause_horizon=Duration(nanos=1_500_000_000)),
            "pause_horizon: wanted one of 0.5 s, 1 s, 2 s, 3 s, got 1.5 s",
        ),
        (TurnOptions(min_silence=Duration(seconds=10, nanos=1)), "min_silence: wanted 0 s to 10 s"),
        (TurnOptions(min_silence=Duration(seconds=-1)), "min_silence: .* got -1 s"),
        (TurnOptions(max_silence=Duration()), "max_silence: wanted 0.2 s to 60 s, got 0 s"),
        (TurnOptions(max_silence=Duration(seconds=61)), "max_silence: .* got 61 s"),
        (
            TurnOptions(min_silence=Duration(seconds=3), max_silence=Duration(seconds=2)),
            r"max_silence: wanted at least min_silence \(3 s\), got 2 s",
        ),
    ],
)
def test_a_bad_option_is_refused_with_what_was_wanted_and_what_came(options, message):
    with pytest.raises(BadConfig, match=r"^turns\..*" + message):
        from_proto(options, HORIZONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TurnOptions(eager_end_threshold=0.2), "eager_end_threshold: the model has no pause heads"),
        (TurnOptions(pause_horizon=Duration(seconds=2)), "pause_horizon: the model has no pause heads"),
    ],
)
def test_options_for_pause_heads_are_refused_for_a_model_without(options, message):
    with pytest.raises(BadConfig, match=message):
        from_proto(options, ())


def test_an_end_threshold_is_not_looked_at_without_pause_heads():
    assert from_proto(TurnOptions(end_threshold=0.6), ()).head is None
