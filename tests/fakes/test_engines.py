from __future__ import annotations

import threading

import numpy as np
import pytest

from services.codec.engine import CodecEngine
from services.common.errors import EngineFailed
from services.lm.engine import History, LmEngine
from tests.fakes.engines import FakeCodecEngine, FakeLmEngine, fake_codes, frame_saying


def test_codes_say_what_the_frame_was_and_which():
    engine: CodecEngine = FakeCodecEngine(codebooks=3, cardinality=64)
    engine.open(1, np.stack([frame_saying(9)]))
    engine.open(2)
    first = engine.step(np.array([2, 1]), np.stack([frame_saying(5), frame_saying(6)]))
    second = engine.step(np.array([2]), frame_saying(-1)[None])
    assert first.tolist() == [[5, 5, 5], [6, 7, 8]]
    assert second.tolist() == [fake_codes(-1, 1, 3, 64).tolist()] == [[63, 0, 1]]


@pytest.mark.parametrize("value", [-1000, -7, 0, 63, 1000])
def test_a_value_survives_sixteen_bits(value: int):
    engine = FakeCodecEngine(codebooks=1, cardinality=4096)
    engine.open(0)
    samples = np.clip(np.round(frame_saying(value) * 32768), -32768, 32767).astype(np.int16)
    codes = engine.step(np.array([0]), (samples / np.float32(32768))[None])
    assert codes[0, 0] == value % 4096


def test_tokens_are_the_first_codes_after_the_initial_one():
    engine: LmEngine = FakeLmEngine(codebooks=2, heads=2, pause_tokens={7})
    engine.open(0)
    engine.open(3, History(np.array([[1, 1]], np.uint16), np.array([3, 1], np.int32)))
    codes = np.array([[7, 0], [7, 1]], np.uint16)
    first = engine.step(np.array([0, 3]), codes)
    second = engine.step(np.array([0]), codes[:1])
    assert first.text_tokens.tolist() == [3, 7]
    assert first.pauses.tolist() == [[0, 0], [1, 1]]
    assert second.text_tokens.tolist() == [7]
    assert isinstance(engine, FakeLmEngine)
    assert np.array(engine.heard[3]).tolist() == [[1, 1], [7, 1]]


def test_it_fails_when_told_to():
    engine = FakeLmEngine()
    engine.open(0)
    engine.fail_at_step = 1
    engine.step(np.array([0]), np.zeros((1, 4), np.uint16))
    with pytest.raises(EngineFailed, match="step 1"):
        engine.step(np.array([0]), np.zeros((1, 4), np.uint16))


def test_it_hangs_until_it_may_resume():
    engine = FakeCodecEngine()
    engine.open(0)
    engine.hang()
    stepping = threading.Thread(target=engine.step, args=(np.array([0]), frame_saying(0)[None]))
    stepping.start()
    assert engine.hanging.wait(5)
    engine.resume()
    stepping.join(5)
    assert not stepping.is_alive()
