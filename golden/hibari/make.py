"""What the package hibari-tts and onnxruntime make of phonemes and of texts.

    python3 golden/hibari/make.py PACKAGE_FOLDER

PACKAGE_FOLDER holds `hibari/`, unpacked out of hibari_tts-0.2.1-py3-none-any.whl; `pip install onnxruntime numpy
scipy safetensors` beside it. The noise of the synthesis is left out: it is the one part that comes out of a generator.
`phonemes.json` holds texts with what the package reads them as; those that are read otherwise here, on purpose, are
not among them.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HERE = Path(__file__).parent
TEXT = "Good day."
SPEED = 1.25
LONG = "She sold nine seashells by the shore at half past seven."
FRAMES = 5


class Silence:
    """In place of numpy's generator."""

    def standard_normal(self, shape, dtype):
        return np.zeros(shape, dtype)


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    import onnxruntime
    from hibari import Hibari, __version__, dsp

    voice = Hibari(threads=1)
    (phonemes,) = voice.phonemize(TEXT)
    ids = voice.ids(phonemes)
    feed = {"ids": np.asarray([ids], np.int64), "speed": np.asarray([SPEED], np.float32)}
    lh, theta, ln, lr, phi, f0 = (out[0] for out in voice.sess.run(None, feed))
    count = lh.shape[1]
    frames = np.linspace(0, count - 1, FRAMES).astype(np.int32)
    parts = np.concatenate([lh, theta, ln, lr, phi]).T[frames]
    arrays = {
        "ids": np.asarray(ids, np.int32),
        "speed": np.asarray([SPEED], np.float32),
        "pitch": f0.astype(np.float32),
        "frames": frames,
        "parts": np.ascontiguousarray(parts.astype(np.float32)),
        "wave": dsp.synth(lh, theta, ln, lr, phi, f0, Silence()).astype(np.float32),
    }
    # A long sentence, whose last bits have far to go; of its sound every sixteenth sample.
    (said,) = voice.phonemize(LONG)
    long_ids = voice.ids(said)
    feed = {"ids": np.asarray([long_ids], np.int64), "speed": np.asarray([1.0], np.float32)}
    *spectrum, pitch = (out[0] for out in voice.sess.run(None, feed))
    arrays["long_ids"] = np.asarray(long_ids, np.int32)
    arrays["long_pitch"] = pitch.astype(np.float32)
    arrays["long_wave"] = np.ascontiguousarray(dsp.synth(*spectrum, pitch, Silence())[::16].astype(np.float32))
    words = ["blorptastic", "Zxqrt"]
    # The sampled frames as if they followed each other, for the synthesis by itself.
    apart = np.split(parts.T.astype(np.float32), 5)
    arrays["sampled_wave"] = dsp.synth(*apart, f0[frames], Silence()).astype(np.float32)
    reference = f"hibari-tts {__version__}, onnxruntime {onnxruntime.__version__}, numpy {np.__version__}"
    save_file(arrays, HERE / "case.safetensors", metadata={"reference": reference})
    texts = json.loads((HERE / "phonemes.json").read_text(encoding="utf-8"))["texts"]
    out = {
        "reference": reference,
        "text": [TEXT, phonemes],
        "unknown": {word: voice.g2p.oov(word) for word in words},
        "texts": {text: " ".join(voice.phonemize(text)) for text in texts},
    }
    (HERE / "phonemes.json").write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(count, "frames,", {k: v.shape for k, v in arrays.items()})


if __name__ == "__main__":
    main()
