"""The same passages and questions through sentence-transformers: baseline.py DATABASE COLLECTION QUESTIONS WEIGHTS THREADS.

Prints hit rates by cosine alone (what most baselines do), and how long the passages take to encode.
"""

import json
import sqlite3
import sys
import time

import numpy
import torch
from sentence_transformers import SentenceTransformer


def bare(text):
    return "".join(text.split())


def main():
    file, collection, questions, weights, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    rows = sqlite3.connect(file).execute(
        "SELECT d.name, d.title, p.heading, p.start, p.bytes, t.text FROM passages p JOIN documents d ON d.seq = p.document "
        "JOIN texts t ON t.document = d.seq JOIN collections c ON c.seq = d.collection WHERE c.name = ? ORDER BY p.seq",
        [collection]).fetchall()
    names = [row[0] for row in rows]
    texts = [row[5][row[3]:row[3] + row[4]].decode() for row in rows]
    headed = [f"{row[2] or row[1] or ''}\n{text}".strip() for row, text in zip(rows, texts)]
    model = SentenceTransformer(weights, device="cpu")
    model.encode(headed[:32])
    began = time.perf_counter()
    passages = model.encode(headed, batch_size=32, normalize_embeddings=True)
    seconds = time.perf_counter() - began
    asked = json.load(open(questions))["answerable"]
    vectors = model.encode([one["question"] for one in asked], normalize_embeddings=True)
    bares = [bare(text) for text in texts]
    hits = {1: [0, 0], 5: [0, 0]}
    for index, (one, scores) in enumerate(zip(asked, vectors @ passages.T)):
        order = numpy.argsort(-scores)
        right = [any(names[i] == at["file"] and bare(at["words"]) in bares[i] for at in one["at"]) for i in order[:5]]
        for most in hits:
            hits[most][index % 2] += any(right[:most])
    half = len(asked) / 2
    print(json.dumps({
        "passages": len(texts), "encode_s": seconds, "passages_per_s": len(texts) / seconds, "threads": int(threads),
        "hit_at_1": {"calibrating": hits[1][0] / half, "scored": hits[1][1] / half},
        "hit_at_5": {"calibrating": hits[5][0] / half, "scored": hits[5][1] / half},
        "torch": torch.__version__}))


main()
