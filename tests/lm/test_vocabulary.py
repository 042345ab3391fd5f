from __future__ import annotations

import io

import pytest
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from services.common.errors import CheckpointError
from services.lm.transcript import WORD_START, Transcript, Word, WordEnds
from services.lm.vocabulary import SentencePieceVocabulary


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(["good morning everybody", "how are you this morning", "hello good world"] * 20),
        model_writer=model,
        vocab_size=290,
        hard_vocab_limit=False,
        byte_fallback=True,
        pad_id=3,
        num_threads=1,
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("vocabulary") / "tiny.model"
    path.write_bytes(model.getvalue())
    return path


@pytest.fixture(scope="module")
def vocabulary(model_path):
    return SentencePieceVocabulary(model_path)


@pytest.fixture(scope="module")
def encode(model_path):
    processor = SentencePieceProcessor()
    processor.Load(str(model_path))
    return processor.encode


def test_the_size_is_that_of_the_model(vocabulary, model_path):
    processor = SentencePieceProcessor()
    processor.Load(str(model_path))
    assert vocabulary.size == processor.vocab_size()


def test_decoding_keeps_the_spaces_between_words_and_none_before_them(vocabulary, encode):
    assert vocabulary.decode(encode("good morning world")) == "good morning world"


def test_the_first_piece_of_a_word_says_so(vocabulary, encode):
    starts = [vocabulary.piece(token).startswith(WORD_START) for token in encode("hello world")]
    assert starts[0]
    assert starts.count(True) == 2


def test_bytes_make_characters(vocabulary, encode):
    tokens = encode("42€")
    assert [vocabulary.piece(token) for token in tokens][-3:] == ["<0xE2>", "<0x82>", "<0xAC>"]
    assert vocabulary.decode(tokens) == "42€"


def test_bytes_cut_short_are_no_error(vocabulary, encode):
    assert "\ufffd" in vocabulary.decode(encode("42€")[:-1])


def test_tokens_beyond_the_vocabulary_say_nothing(vocabulary, encode):
    beyond = vocabulary.size
    assert vocabulary.decode([beyond, *encode("good"), beyond + 7]) == "good"
    assert vocabulary.piece(beyond) == ""


def test_nothing_decodes_to_nothing(vocabulary):
    assert vocabulary.decode([]) == ""


def test_a_transcript_reads_words_from_a_real_model(vocabulary, encode):
    words = Transcript(vocabulary, 1, WordEnds(80, 60))
    good, euro = encode("good"), encode("€")
    heard = [word for token in [3, 0, *good, 3, 0, *euro, 3] for word in words.push(token)]
    assert heard == [Word("good", 1, 5, True), Word("€", 3 + len(good), 5 + len(good), True)]


def test_a_transcript_splits_the_pieces_of_a_real_model_into_words(vocabulary, encode):
    words = Transcript(vocabulary, 1, WordEnds(80, 60))
    heard = [word for token in [0, *encode("good € morning"), 3] for word in words.push(token)]
    assert [word.text for word in heard] == ["good", "€", "morning"]
    sizes = [len(encode(text)) for text in ("good", "€")]
    assert [word.start_frame for word in heard] == [0, sizes[0], sum(sizes)]


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x00" * 64])
def test_a_file_that_is_no_sentencepiece_model_is_refused_by_name(tmp_path, content):
    path = tmp_path / "other.model"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"other\.model: wanted a sentencepiece model"):
        SentencePieceVocabulary(path)


def test_half_a_model_is_refused(tmp_path, model_path):
    path = tmp_path / "half.model"
    path.write_bytes(model_path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"half\.model"):
        SentencePieceVocabulary(path)


def test_a_file_that_is_missing_is_refused_by_name(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.model: cannot read"):
        SentencePieceVocabulary(tmp_path / "gone.model")


def test_a_folder_is_refused_by_name(tmp_path):
    with pytest.raises(CheckpointError, match="cannot read"):
        SentencePieceVocabulary(tmp_path)
