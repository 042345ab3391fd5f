"""Does a checkpoint fit together? Checked at start, before gigabytes are loaded, each fault in one clear line.

Reads config.json, the headers of the safetensors files and, where sentencepiece is installed, the tokenizer; no torch.
Called by the registry for every checkpoint it resolves, and by `dsm-stt models verify`, which prints the lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from services.common.checkpoint import ALL_PARTS, Checkpoint, Part
from services.common.errors import CheckpointError
from services.common.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ
from services.common.lm_tensors import lm_tensors, new_name
from services.common.safetensors_header import SafetensorsHeader, read_header

_INTEGERS = ("n_q", "card", "text_card", "dim", "num_heads", "num_layers", "context")
# What the LM's code can be; every published speech-to-text model is this.
_ARCHITECTURE = {"gating": "silu", "norm": "rms_norm_f32", "positional_embedding": "rope"}
_FLOATS = frozenset({"F32", "BF16", "F16"})
_MIMI_CODEBOOK = re.compile(
    r"^quantizer\.rvq_(first|rest)\.vq\.layers\.\d+\._codebook\.(embedding_sum|embed_sum|embed_avg)$"
)
_MIMI_LAYER = re.compile(r"^encoder_transformer\.transformer\.layers\.(\d+)\.norm1\.weight$")
_LM_LAYER = re.compile(r"^transformer\.layers\.(\d+)\.")
# Shapes of the full-size Mimi, which moshi builds where there is no mimi_config: layers of its transformer, channels
# of the latents, filters of the first convolution, dimension of a codebook entry.
_FULL_MIMI = (8, 512, 64, 256)


def verify(checkpoint: Checkpoint, parts: Set[Part] = ALL_PARTS) -> Iterator[str]:
    """Run every check, yielding a line for each that passed.

    Raises CheckpointError at the first that does not. Only the given parts are looked at; they must be resolved.
    """
    check_config(checkpoint.config, checkpoint.origin)
    yield (
        f"config.json: {checkpoint.config['num_layers']} layers of {checkpoint.config['dim']}, "
        f"{checkpoint.codebooks} codebooks of {checkpoint.card}, {checkpoint.text_card} text tokens, "
        f"delay {checkpoint.delay_frames} frames, {checkpoint.pause_heads} pause heads"
    )
    if Part.CODEC in parts:
        header = read_header(checkpoint.mimi_weights)
        check_mimi(checkpoint, header)
        yield f"{checkpoint.mimi_weights.name}: {checkpoint.mimi_codebooks} codebooks of {checkpoint.mimi_card}" + _of(
            header
        )
    if Part.LM in parts:
        header = read_header(checkpoint.lm_weights)
        check_lm(checkpoint, header)
        yield f"{checkpoint.lm_weights.name}: {len(header.shapes)} tensors" + _of(header)
        pieces = check_tokenizer(checkpoint)
        yield f"{checkpoint.tokenizer.name}: " + (
            "not read, sentencepiece is not installed" if pieces is None else f"{pieces} pieces"
        )


def check_config(config: Mapping[str, Any], origin: str) -> None:
    """Check what config.json says by itself, so that it can be done before anything large is fetched.

    origin: where it came from, for the messages. Raises CheckpointError.
    """
    file = f"config.json of {origin}"
    model_type = config.get("model_type", "moshi")
    if model_type != "stt":
        raise CheckpointError(f"{file}: model_type is {model_type!r}, wanted 'stt': no speech-to-text model")
    missing = [key for key in (*_INTEGERS, "dep_q", "delays") if key not in config]
    if missing:
        raise CheckpointError(f"{file} lacks {', '.join(missing)}")
    for key in _INTEGERS:
        if not isinstance(config[key], int) or config[key] <= 0:
            raise CheckpointError(f"{file}: {key} is {config[key]!r}, wanted a whole number above 0")
    if config["dep_q"] != 0:
        raise CheckpointError(f"{file}: dep_q is {config['dep_q']!r}, wanted 0: the model makes audio, not only text")
    delays = config["delays"]
    if not isinstance(delays, list) or len(delays) != config["n_q"] + 1 or any(delays):
        raise CheckpointError(f"{file}: delays must be n_q + 1 = {config['n_q'] + 1} zeros, got {delays!r}")
    for key, wanted in _ARCHITECTURE.items():
        if config.get(key) != wanted:
            raise CheckpointError(f"{file}: {key} is {config.get(key)!r}, wanted {wanted!r}")
    if config["dim"] % config["num_heads"]:
        raise CheckpointError(f"{file}: dim {config['dim']} is not a multiple of num_heads {config['num_heads']}")
    if config.get("lora") or config.get("lora_name"):
        raise CheckpointError(f"{file} asks for a LoRA adapter: merge it into the weights first")
    if config.get("conditioners"):
        raise CheckpointError(f"{file} asks for conditioners, which speech-to-text models here do not have")
    _check_stt_config(config, file)


def check_mimi(checkpoint: Checkpoint, header: SafetensorsHeader) -> None:
    """Check the Mimi weights against the Mimi config, and both against the LM. Raises CheckpointError."""
    mimi = checkpoint.mimi_config
    if mimi is None:
        layers, dimension, filters, entry_dimension = _FULL_MIMI
    else:
        try:
            layers = int(mimi["transformer"]["num_layers"])
            dimension = int(mimi["seanet"]["dimension"])
            filters = int(mimi["seanet"]["n_filters"])
            entry_dimension = int(mimi["quantizer"]["dimension"])
            int(mimi["quantizer"]["n_q"]), int(mimi["quantizer"]["bins"])
            frame_samples = float(mimi["sample_rate"]) / float(mimi["frame_rate"])
            sample_rate_hz = int(mimi["sample_rate"])
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise CheckpointError(
                f"{checkpoint.config['mimi_config_name']} of {checkpoint.origin} is no Mimi config: "
                f"{type(error).__name__} {error}"
            ) from None
        if (sample_rate_hz, frame_samples) != (SAMPLE_RATE_HZ, FRAME_SAMPLES):
            raise CheckpointError(
                f"{checkpoint.config['mimi_config_name']} of {checkpoint.origin}: frames of {frame_samples:g} samples "
                f"at {sample_rate_hz} Hz, wanted {FRAME_SAMPLES} at {SAMPLE_RATE_HZ} Hz"
            )
    if checkpoint.mimi_codebooks < checkpoint.codebooks or checkpoint.mimi_card != checkpoint.card:
        raise CheckpointError(
            f"{checkpoint.origin}: Mimi has {checkpoint.mimi_codebooks} codebooks of {checkpoint.mimi_card}, the LM "
            f"reads {checkpoint.codebooks} of {checkpoint.card}: they do not belong together"
            + ("" if mimi else " (without mimi_config_name in config.json the full-size Mimi is meant)")
        )
    codebooks = [name for name in header.shapes if _MIMI_CODEBOOK.match(name)]
    _compare(header, "codebooks", len(codebooks), checkpoint.mimi_codebooks)
    for name in codebooks:
        _compare(header, name, header.shapes[name], (checkpoint.mimi_card, entry_dimension))
    _compare(header, "transformer layers", _count(_MIMI_LAYER, header), layers)
    first, projection = "encoder.model.0.conv.conv.weight", "quantizer.rvq_first.input_proj.weight"
    _compare(header, first, header.shapes.get(first, ())[:1], (filters,))
    _compare(header, projection, header.shapes.get(projection), (entry_dimension, dimension, 1))


def check_lm(checkpoint: Checkpoint, header: SafetensorsHeader) -> None:
    """Check that the LM weights hold exactly the tensors that config.json asks for. Raises CheckpointError."""
    if not header.dtypes <= _FLOATS:
        raise CheckpointError(
            f"{header.path} holds {', '.join(sorted(header.dtypes - _FLOATS))}: quantized weights are not supported, "
            "wanted F32, BF16 or F16"
        )
    wanted = lm_tensors(checkpoint.config)
    found = {new_name(name): shape for name, shape in header.shapes.items()}
    # The counts first: they say best what is wrong when whole groups of tensors are missing or too many.
    tables = sum(name.startswith("emb.") for name in found)
    _compare(header, "audio embedding tables (emb), one a codebook (n_q)", tables, checkpoint.codebooks)
    _compare(header, "transformer layers (num_layers)", _count(_LM_LAYER, header), checkpoint.config["num_layers"])
    heads = sum(name.startswith("extra_heads.") for name in found)
    _compare(header, "pause heads (extra_heads_num_heads)", heads, checkpoint.pause_heads)
    for name, shape in wanted.items():
        _compare(header, name, found.get(name), shape)
    unexpected = sorted(found.keys() - wanted.keys())
    if unexpected:
        more = f" and {len(unexpected) - 1} more" if len(unexpected) > 1 else ""
        raise CheckpointError(f"{header.path} holds {unexpected[0]}{more}, which config.json does not ask for")


def check_tokenizer(checkpoint: Checkpoint) -> int | None:
    """Check that the tokenizer has exactly the LM's text vocabulary.

    Returns its pieces, or None where sentencepiece is not installed. Raises CheckpointError.
    """
    try:
        from sentencepiece import SentencePieceProcessor  # noqa: PLC0415  # only the LM service installs it
    except ImportError:
        return None
    try:
        pieces = int(SentencePieceProcessor(model_file=str(checkpoint.tokenizer)).get_piece_size())
    except (OSError, RuntimeError):
        raise CheckpointError(f"{checkpoint.tokenizer} is not a sentencepiece model") from None
    if pieces != checkpoint.text_card:
        raise CheckpointError(
            f"{checkpoint.tokenizer} has {pieces} pieces, text_card in config.json is {checkpoint.text_card}: "
            "it is another model's tokenizer"
        )
    return pieces


def _check_stt_config(config: Mapping[str, Any], file: str) -> None:
    stt = config.get("stt_config")
    if not isinstance(stt, Mapping) or not isinstance(stt.get("audio_delay_seconds"), int | float):
        raise CheckpointError(f"{file} lacks stt_config.audio_delay_seconds")
    heads = int(config.get("extra_heads_num_heads") or 0)
    horizons = stt.get("pause_horizons_ms")
    if horizons is None:
        if heads not in (0, 4):
            raise CheckpointError(
                f"{file}: {heads} pause heads, and no stt_config.pause_horizons_ms says what they mean"
            )
    elif len(horizons) != heads or list(horizons) != sorted(set(horizons)):
        raise CheckpointError(f"{file}: stt_config.pause_horizons_ms must be {heads} rising numbers, got {horizons!r}")


def _compare(header: SafetensorsHeader, what: str, found: Any, wanted: Any) -> None:
    if found is None:
        raise CheckpointError(f"{header.path} has no tensor {what}, of shape {_shape(wanted)}")
    if found != wanted:
        raise CheckpointError(f"{header.path}: {what}: found {_shape(found)}, config.json asks for {_shape(wanted)}")


def _shape(value: Any) -> str:
    return " x ".join(str(size) for size in value) if isinstance(value, tuple) and value else str(value or 0)


def _count(pattern: re.Pattern[str], header: SafetensorsHeader) -> int:
    return len({match[1] for name in header.shapes if (match := pattern.match(name))})


def _of(header: SafetensorsHeader) -> str:
    return f", {'/'.join(sorted(header.dtypes))}, {header.size_bytes / 1e6:,.1f} MB"
