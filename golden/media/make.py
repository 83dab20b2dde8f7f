"""Pictures by Pillow in the forms that are found in the wild, and what it reads and resizes.

    python3 golden/media/make.py

`files/` holds the pictures; `case.safetensors` has the pixels that Pillow reads from each (`NAME`, height ×
width × channels, upright), and a picture resized by its filters (`resize.FILTER.WIDTHxHEIGHT`).
"""

from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps
from safetensors.numpy import save_file

HERE = Path(__file__).parent
FILES = HERE / "files"
REFERENCE = f"Pillow {PIL.__version__}"
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}
# The last two put no new centre right between two old pixels, where "nearest" is a matter of taste.
SIZES = ((10, 7), (40, 32), (24, 4))


def picture() -> Image.Image:
    y, x = np.mgrid[0:18, 0:24]
    rgb = np.stack([x * 10, y * 14, (x * y) % 256], -1).astype(np.uint8)
    rgb[4:9, 3:8] = (250, 20, 30)
    return Image.fromarray(rgb)


def translucent(image: Image.Image) -> Image.Image:
    alpha = np.full((image.height, image.width), 255, np.uint8)
    alpha[:6, :6] = 0
    alpha[6:12, 6:12] = 100
    image = image.copy()
    image.putalpha(Image.fromarray(alpha))
    return image


def write_files() -> None:
    FILES.mkdir(exist_ok=True)
    rgb = picture()
    rgba = translucent(rgb)
    rgb.save(FILES / "rgb.png")
    rgba.save(FILES / "rgba.png")
    rgb.convert("L").save(FILES / "grey.png")
    rgba.convert("LA").save(FILES / "grey_alpha.png")
    rgb.quantize(16).save(FILES / "palette.png", bits=4)
    rgb.convert("1").save(FILES / "bits.png")
    wide = Image.fromarray((np.asarray(rgb.convert("L")).astype(np.uint16) * 257))
    wide.save(FILES / "grey16.png")
    rgb.save(FILES / "plain.jpg", quality=95, subsampling=0)
    rgb.save(FILES / "progressive.jpg", quality=90, subsampling=2, progressive=True)
    rgb.convert("L").save(FILES / "grey.jpg", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.save(FILES / "turned.jpg", quality=95, subsampling=0, exif=exif)
    rgba.save(FILES / "lossless.webp", lossless=True, exact=True)
    rgb.save(FILES / "lossy.webp", quality=90)
    rgba.save(FILES / "lossy_alpha.webp", quality=90)
    rgb.quantize(64).save(FILES / "still.gif")
    frames = [Image.new("RGB", (12, 10), (i * 80, 200 - i * 60, 40)) for i in range(3)]
    for i, frame in enumerate(frames):
        frame.paste((255, 255, 0), (i * 3, 2, i * 3 + 3, 5))
    options = dict(save_all=True, append_images=frames[1:], duration=120, loop=0)
    frames[0].save(FILES / "animated.gif", **options)
    frames[0].save(FILES / "animated.png", **options)
    frames[0].save(FILES / "animated.webp", lossless=True, **options)


def main() -> None:
    write_files()
    arrays = {}
    for file in sorted(FILES.iterdir()):
        image = Image.open(file)
        frames = []
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            shown = ImageOps.exif_transpose(image)
            if shown.mode == "I;16":
                shown = Image.fromarray((np.asarray(shown) / 257).round().astype(np.uint8))
            clear = shown.mode in ("RGBA", "LA") or "transparency" in shown.info
            frames.append(np.asarray(shown.convert("RGBA" if clear else "RGB")))
        arrays[file.name] = np.stack(frames) if len(frames) > 1 else frames[0]
    image = picture()
    for name, number in FILTERS.items():
        for size in SIZES:
            arrays[f"resize.{name}.{size[0]}x{size[1]}"] = np.asarray(image.resize(size, number))
    arrays = {k: np.ascontiguousarray(v).astype(np.uint8) for k, v in arrays.items()}
    save_file(arrays, HERE / "case.safetensors", metadata={"reference": REFERENCE})
    size = (HERE / "case.safetensors").stat().st_size
    total = sum(file.stat().st_size for file in FILES.iterdir())
    print(f"case.safetensors: {size} bytes, files: {total} bytes")
    if size + total > 200_000:
        raise SystemExit(f"{size + total} bytes are more than 200 kB")


if __name__ == "__main__":
    main()
