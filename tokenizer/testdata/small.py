#!/usr/bin/env python3
"""Cuts a small vocabulary out of Gemma 3's, for tests that need no download.

    python small.py tokenizer.model small.model

It keeps every piece that some line of TEXT contains, so that each word has many
ways to be merged, with the byte tokens and some of each kind of symbol.
"""
import re, sys
from sentencepiece import sentencepiece_model_pb2 as pb

TEXT = """
the quick brown fox jumps over the lazy dog
hello world, this is a tokenizer test 0123456789
international nation rationale banana ananas
für größer ééé Москва столица
日本語 東京 的是 안녕하세요
👍👍👍🏽 …………
aaaaaaaa abababab -------- > </
""".replace(" ", "▁")
SYMBOLS = r"<(pad|eos|bos|unk|mask|unused[01]|(start|end)_of_.*|/?(table|td|tr|b|h1))>|\[multimodal\]|\n{1,5}|▁{2,6}|\t{1,3}"

whole = pb.ModelProto.FromString(open(sys.argv[1], "rb").read())
small = pb.ModelProto(trainer_spec=whole.trainer_spec, normalizer_spec=whole.normalizer_spec)
for p in whole.pieces:
    keep = p.type == p.BYTE
    if p.type == p.NORMAL:
        keep = p.piece in TEXT or p.piece in "abcdefghijklmnopqrstuvwxyzTHE.,:;!?<>/'\"(){}[]=_*#"
    elif p.type != p.BYTE:
        keep = re.fullmatch(SYMBOLS, p.piece)
    if keep:
        small.pieces.append(p)
small.trainer_spec.vocab_size = len(small.pieces)
open(sys.argv[2], "wb").write(small.SerializeToString())
print(len(small.pieces), "pieces")
