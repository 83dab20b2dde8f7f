"""Draws docs/images/spectrogram.png: one sentence in the voices hibari and piper-joe, one above the other.

    for voice in hibari piper-joe; do medley speech "Every voice has its own colour." --model $voice -o $voice.wav; done
    python3 docs/images/spectrogram.py hibari.wav piper-joe.wav docs/images/spectrogram.png

`pip install matplotlib numpy pillow scipy` beside it.
"""

import sys

import matplotlib
import numpy as np
from scipy.io import wavfile

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402
from PIL import Image  # noqa: E402

*files, picture = sys.argv[1:]
figure, axes = pyplot.subplots(len(files), 1, figsize=(9, 2.6 * len(files)), constrained_layout=True)
for file, axis in zip(files, np.atleast_1d(axes)):
    rate, samples = wavfile.read(file)
    samples = samples.astype(np.float64) / 32768
    axis.specgram(samples + 1e-6, NFFT=512, noverlap=384, Fs=rate, cmap="magma", vmin=-120, vmax=-30)
    axis.set(title=file.rsplit("/", 1)[-1].removesuffix(".wav"), ylabel="Hz", ylim=(0, 8000))
np.atleast_1d(axes)[-1].set_xlabel("seconds")
figure.savefig(picture, dpi=90)
Image.open(picture).convert("RGB").quantize(64).save(picture, optimize=True)
