#!/usr/bin/env python3
"""Writes what the SentencePiece library makes of a corpus of many scripts.

    python agreement.py tokenizer.model agreement.json
    python agreement.py small.model small-agreement.json

Needs sentencepiece (0.2.3 made the files here) and protobuf. Each case has the
text (or its bytes in hexadecimal, where they are not UTF-8), "ids" for Encode
and, where they differ, "special" for EncodeSpecial.

SentencePiece is the oracle for both: Encode's is the model with the tokens that
look like markup turned into control tokens, which it never matches; and bytes
that are not UTF-8 are taken out before, as this package makes
byte tokens of them (see doc.go).
"""
import json, random, re, sys
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb

MARKUP = re.compile(r"<(pad|eos|bos|unk|mask|2mass|unused\d+|start_of_.*|end_of_.*|.*_soft_token|\|.*|.*\|)>|\[@BOS@\]|\[multimodal\]")

SENTENCES = """
The quick brown fox jumps over the lazy dog. It's 12:45 — they'd've gone, wouldn't they?
Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Straße, Äpfel, Öl.
Voix ambiguë d'un cœur qui, au zéphyr, préfère les jattes de kiwis. « Ça va ? »
El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío. ¿Qué? ¡Sí!
Příliš žluťoučký kůň úpěl ďábelské ódy. Zażółć gęślą jaźń. Árvíztűrő tükörfúrógép.
Pijamalı hasta yağız şoföre çabucak güvendi. Iğdır İstanbul ıssız.
Muốn nói thì nói, không nói thì thôi: tiếng Việt có sáu thanh điệu.
Съешь же ещё этих мягких французских булок, да выпей чаю. Їжак, ґанок, ўсё.
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ἐν ἀρχῇ ἦν ὁ λόγος.
نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر. بِسْمِ ٱللَّهِ
دختر کوچولوی خوشحال، می‌خواهم به خانه بروم. اُردو زبان کی تاریخ
דג סקרן שט בים מאוכזב ולפתע מצא חברה. שָׁלוֹם
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले। क्षत्रिय ज्ञान
আমার সোনার বাংলা, আমি তোমায় ভালোবাসি।
ਪੰਜਾਬੀ ਭਾਸ਼ਾ ਗੁਰਮੁਖੀ ਵਿੱਚ ਲਿਖੀ ਜਾਂਦੀ ਹੈ।
ગુજરાતી ભાષા ભારતની એક ભાષા છે.
யாதும் ஊரே யாவரும் கேளிர். தமிழ் மொழி
తెలుగు భాష ద్రావిడ భాషల కుటుంబానికి చెందినది.
ಕನ್ನಡ ಭಾಷೆ ಬಹಳ ಹಳೆಯದು. മലയാളം ഒരു ഭാഷയാണ്. සිංහල භාෂාව
เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน
ພາສາລາວ ເປັນພາສາ. ភាសាខ្មែរ មានអក្សរ។ မြန်မာဘာသာစကား
བོད་སྐད་ནི་བོད་པའི་སྐད་ཡིག་ཡིན།
いろはにほへと ちりぬるを。東京は日本の首都です。コンピューター、ﾊﾝｶｸ。
天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。中華民國憲法「第一條」
키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. ㅋㅋㅋ
ქართული ენა ძალიან ლამაზია. ᲛᲗᲐᲕᲠᲣᲚᲘ
Հայերեն լեզուն հնդեվրոպական լեզու է։
ሰላም ለዓለም፤ አማርኛ የኢትዮጵያ ቋንቋ ነው።
ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᐃᓄᒃᑎᑐᑦ ᚠᚢᚦᚨᚱᚲ ᠮᠣᠩᠭᠣᠯ ⵜⴰⵎⴰⵣⵉⵖⵜ ߒߞߏ ⠃⠗⠁⠊⠇⠇⠑
𐍈𐌰𐌹𐍂𐌷𐍄 𓀀𓂀𓃰 𒀀𒁀 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒜𝓁𝓅𝒽𝒶 🄰🅱 𠮷野家 𪚥
👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 👩🏿‍🚀 🇩🇪🇯🇵🇺🇳 1️⃣ ❤️‍🔥 🫠🪿 ☺︎☺️ 🧑‍🤝‍🧑
é vs é, Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!, ḍ̇ ḍ̇, 각 각, ﬁ ﬃ ½ ² ™ ℌ
∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β = ¬(¬α ∨ β), ∑ᵢ₌₁ⁿ i², E = mc², ∫₀^∞ e^{-x²}dx ≈ ½√π
3.14159 1,000,000 0x1F 1e-10 007 ١٢٣ १२३ Ⅻ ① 12/31/1999 +49 (0)30 123456 99999999999999999999
https://example.org/a/b_c?q=1&b=%20#frag user.name+tag@mail.example.co.uk C:\\Windows\\System32 /usr/bin/env
{"name": "x", "list": [1, 2.5, null, true], "s": "a\\n\\u00e9", "nested": {"k": []}}
SELECT a.id, COUNT(*) FROM t AS a WHERE a.x >= 10 AND b <> 'it''s' GROUP BY 1; -- done
if (x != null && y->z[3] == '\\0') { return &v[i++] << 2; } // TODO: café
#include <stdio.h>  int main(void){printf("%5.2f\\n",3.0);return 0;}  λ x → x ≡ x  fn main() -> Result<(), Box<dyn Error>> {}
<html><body><h1>Title</h1><table><tr><td>1</td></tr></table><p class="x">text</p><br/></body></html>
<!-- c --><ul><li>a</li><li>b</li></ul><div><span></span><a href="#">x</a></div></iframe><TABLE><Td><<td>><h7>
# Heading  **bold** _it_ `code` ~~no~~ [link](http://x.y) | a | b | --- > quote * item 1. one
LoremIpsumDolorSitAmetConsecteturAdipiscingElit supercalifragilisticexpialidocious DONAUDAMPFSCHIFFFAHRTSGESELLSCHAFT
ABABABABABAB aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa hahahahahahaha -------- ======== ________ ........ ………………………………
""".strip().split("\n")

CODE = [
    "def f(x):\n    if x:\n        return x**2  # comment\n\n\n    return None\n",
    "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tfor i := range 10 {\n\t\tfmt.Println(i)\n\t}\n}\n",
    "a\r\nb\rc\x0bd\x0ce\x85f\u2028g\u2029h\u00a0i\u2003j\u3000k\u200bl\ufeffm\u00adn\u2060o",
    "\x00\x01\x02\x7f\x1b[31mred\x1b[0m\x9f", "\ufffd\ufffd \ufffe \uffff \ud7ff\ue000\U0010ffff",
    "  two   three    four     five", " \n \n\n \t \t\t\n\t", "trailing ", " leading", "\n", " ", "", "a\n\n\nb\t\t\tc", " a  b   c ",
    "x" * 200, "ab" * 100, "word " * 50, "。" * 70, "日本" * 40, "ééé" * 20, "👍" * 30, "\u0301" * 10, "▁▁▁ a▁b ▁ ▁▁", "> </ ></ > </p>", ">  </", "=> </td> </",
]

MARKED = ["<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n", "[multimodal] <unused42><unused6241> <unused6242>",
          "<mask><start_of_image>x<end_of_image>", "a<end_of_turn", "<<end_of_turn>>", " <start_of_turn> ", "<table><end_of_turn></table>"]


def corpus(pieces):
    yield from SENTENCES
    yield from CODE
    yield from MARKED
    for c in " \n\t":
        for n in list(range(2, 36)) + [61, 62, 63, 93, 200]:
            yield c * n
            if n % 5 == 0:
                yield "a" + c * n + "b"
    r = random.Random(1)
    words = [p.piece.replace("▁", " ") for p in pieces if p.type == p.NORMAL]
    user = [p.piece.replace("▁", " ") for p in pieces if p.type == p.USER_DEFINED and not MARKUP.fullmatch(p.piece)]
    for _ in range(150):  # pieces side by side, which merge across their borders
        yield "".join(r.choice(words) for _ in range(r.randint(2, 6)))
    for _ in range(50):
        yield "".join(r.choice(words if r.random() < 0.6 else user) for _ in range(r.randint(2, 6)))
    for _ in range(60):  # short alphabets make ties and stale candidates
        a = r.choice(["ab", "aeo", "lo ", "的是", "01", ".-", "an ", "сто", "\n ", "<>/td"])
        yield "".join(r.choice(a) for _ in range(r.randint(20, 90)))
    for top in (0x250, 0x3000, 0x10000, 0x20000):
        for _ in range(15):
            yield "".join(chr(c) for c in (r.randrange(32, top) for _ in range(15)) if not 0xD800 <= c < 0xE000)
    for _ in range(40):
        yield bytes(r.randrange(256) for _ in range(r.randint(1, 12)))
    for _ in range(40):  # texts cut and damaged in the middle of characters
        b = bytearray(r.choice(SENTENCES).encode()[:60])
        b[r.randrange(len(b))] = r.randrange(128, 256)
        yield bytes(b[r.randrange(4):])
    yield from [b"\xc0\x80", b"\xed\xa0\x80\xed\xb0\x80", b"\xf4\x90\x80\x80", b"\xe2\x96", b"\xe2\x96\xe2\x96\x81", b"a\xffb", b"\xf0\x9f\x91", b"\x80 \x80"]


def main(model, out):
    whole = pb.ModelProto.FromString(open(model, "rb").read())
    plain = pb.ModelProto.FromString(whole.SerializeToString())
    for p in plain.pieces:
        if p.type == p.USER_DEFINED and MARKUP.fullmatch(p.piece):
            p.type = p.CONTROL
    special, ordinary = (sentencepiece.SentencePieceProcessor(model_proto=m.SerializeToString()) for m in (whole, plain))
    byte = {int(p.piece[3:5], 16): i for i, p in enumerate(whole.pieces) if p.type == p.BYTE}

    def encode(sp, text):
        ids = []
        # surrogateescape marks exactly the bytes that are not part of valid UTF-8.
        for part in re.split("([\udc80-\udcff])", text.decode("utf-8", "surrogateescape")):
            if re.fullmatch("[\udc80-\udcff]", part):
                ids += [byte[b] for b in part.encode("utf-8", "surrogateescape")]
            else:
                ids += sp.encode(part)
        return ids

    cases = []
    for text in corpus(whole.pieces):
        raw = text if isinstance(text, bytes) else text.encode()
        ids, marked = encode(ordinary, raw), encode(special, raw)
        try:
            case = {"text": raw.decode()}
        except UnicodeDecodeError:
            case = {"hex": raw.hex()}
        cases.append(case | {"ids": ids} | ({"special": marked} if marked != ids else {}))
    with open(out, "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, ensure_ascii=True, separators=(",", ":")) for c in cases) + "\n]\n")
    print(len(cases), "cases")


main(*sys.argv[1:])
