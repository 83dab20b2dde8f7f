"""Parquet tables by pyarrow, as the `datasets` library lays them out, for the readers of `medley_train`.

    python3 golden/table/make.py

Six pictures of 4 x 4 pixels of one colour each, in row groups of 2, and texts and chats in row groups of 3. What is in
them is said in golden/README.md and in crates/train/tests/tables.rs.
"""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HERE = Path(__file__).parent
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)]
NAMES = ["red", "green", "blue", "yellow", "cyan", "magenta"]


def png(colour) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(file, "PNG")
    return file.getvalue()


def write(name: str, table: pa.Table, rows: int, compression: str) -> None:
    pq.write_table(table, HERE / name, row_group_size=rows, compression=compression)


def main() -> None:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pictures = [{"bytes": png(c), "path": f"{n}.png"} for c, n in zip(COLOURS, NAMES)]
    pictures[4] = None
    table = pa.table(
        {
            "label": pa.array(range(6), pa.int64()),
            "image": pa.array(pictures, image),
            "text": pa.array([f"a {n} square" for n in NAMES]),
        }
    )
    write("pictures.parquet", table, 2, "snappy")
    table = pa.table(
        {
            "jpg": pa.array([png(c) for c in COLOURS[:3]], pa.binary()),
            "captions": pa.array([["red", "rot"], [], ["blue"]], pa.list_(pa.string())),
            "group": pa.array(["a", "b", "a"]),
        }
    )
    write("plain.parquet", table, 8, "gzip")
    write("zstd.parquet", table, 8, "zstd")
    texts = ["one", "zwei und größer", None, "four " * 40, "one"]
    write("texts.parquet", pa.table({"id": range(5), "text": texts}), 3, "lz4")
    chat = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
    ]
    message = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    table = pa.table({"messages": pa.array([chat, chat[:1], chat + chat], message)})
    write("chats.parquet", table, 3, "none")


if __name__ == "__main__":
    main()
