"""The exported embedding tables compute what the trained network computes."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("moshi")
pytest.importorskip("scipy")
pytest.importorskip("soxr")

from tests.training.small_network import small  # noqa: E402
from training.export import moshi_states, tokenizer  # noqa: E402
from training.network import Network  # noqa: E402
from training.shape import TEXT_CARD  # noqa: E402
from training.vocabulary import WORDS, token_of  # noqa: E402


def test_embedding_tables_equal_the_straight_through_path() -> None:
    torch.manual_seed(0)
    network = Network(*small()).eval()
    network.first.start(torch.randn(200, 8))
    network.rest.start(torch.randn(200, 8))
    network.quantise = True
    torch.nn.init.normal_(network.audio_initial)
    pcm = 0.1 * torch.randn(2, 1, 1920 * 6)
    text = torch.randint(4, 100, (2, 7))
    text[:, 0] = TEXT_CARD
    with torch.no_grad():
        quantised, _ = network.quantised(network.latents(pcm)[1])
        expected = network.lm.text_linear(network.hidden(quantised, text))
        moshi_states(network)
        codes = network.mimi.encode(pcm)
        initial = torch.full((2, 4, 1), network.lm.initial_token_id)
        sequence = torch.cat([text[:, None], torch.cat([initial, codes], 2)], 1)
        _, logits = network.lm.forward_text(sequence)
    assert torch.allclose(logits[:, 0], expected, atol=1e-4)


def test_each_word_is_one_piece_of_the_tokenizer() -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    model = sentencepiece.SentencePieceProcessor(model_proto=tokenizer())
    assert model.get_piece_size() == TEXT_CARD
    for word in WORDS:
        assert model.encode(word) == [token_of(word)]
        assert model.decode([token_of(word)]) == word
    assert model.decode(model.encode("seven giraffe")) == "seven giraffe"
