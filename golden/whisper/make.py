"""Golden case of Whisper: a tiny seeded model and the spectrogram, by transformers.

    python3 golden/whisper/make.py

golden/README.md describes the arrays.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import transformers

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from case import filled_model, write  # noqa: E402
from fill import fill, ids  # noqa: E402

VOCAB = 96
CONFIG = dict(
    architectures=["WhisperForConditionalGeneration"], model_type="whisper", vocab_size=VOCAB, d_model=64,
    encoder_layers=2, decoder_layers=3, encoder_attention_heads=4, decoder_attention_heads=4,
    encoder_ffn_dim=96, decoder_ffn_dim=96, num_mel_bins=16, max_source_positions=24, max_target_positions=20,
    activation_function="gelu", scale_embedding=False, dropout=0.0, attention_dropout=0.0,
    activation_dropout=0.0, encoder_layerdrop=0.0, decoder_layerdrop=0.0, bos_token_id=1, eos_token_id=2,
    pad_token_id=0, decoder_start_token_id=1, suppress_tokens=[], begin_suppress_tokens=[], tie_word_embeddings=True,
)  # fmt: skip
LENGTH = 12


def sound(count: int) -> np.ndarray:
    """A tone that rises, comes and goes, with a hiss below."""
    t = np.arange(count) / 16000
    tone = np.sin(2 * np.pi * (300 + 400 * t) * t) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * t))
    hiss = fill("sound", [count], 0.0, 0.0078125).astype(np.float64)
    return (0.4 * tone + hiss).astype(np.float32)


def main() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    model, tensors = filled_model(CONFIG, transformers.WhisperForConditionalGeneration)
    frames = 2 * CONFIG["max_source_positions"]
    mel = torch.from_numpy(fill("mel", [1, CONFIG["num_mel_bins"], frames], 0.0, 1.0))
    tokens = torch.from_numpy(ids("decoder_input_ids", [1, LENGTH], VOCAB))
    out = model(mel, decoder_input_ids=tokens, output_attentions=True, output_hidden_states=True)
    short = transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=2)
    wide = transformers.WhisperFeatureExtractor(feature_size=128, chunk_length=2)
    samples = sound(16_000)
    features = lambda e: e(samples, sampling_rate=16000, return_tensors="np").input_features[0].T  # noqa: E731
    arrays = {
        "mel": mel[0].T.numpy(),
        "decoder_input_ids": tokens.numpy(),
        "encoder.last_hidden_state": out.encoder_last_hidden_state[0].numpy(),
        "activation.decoder.0": out.decoder_hidden_states[1][0].numpy(),
        "logits": out.logits[0].numpy(),
        "cross_attentions": torch.stack([a[0] for a in out.cross_attentions]).numpy(),
        "samples": samples,
        "features.80": features(short)[::4].astype(np.float32),
        "features.128": features(wide)[::16].astype(np.float32),
    }
    write(HERE / "tiny", CONFIG, tensors, arrays)
    size = (HERE / "tiny/case.safetensors").stat().st_size
    print(f"logits std {out.logits.std():.2f}, spectrogram {arrays['features.80'].shape}, {size} bytes")


if __name__ == "__main__":
    main()
