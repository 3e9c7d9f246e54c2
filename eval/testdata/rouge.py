# Figures of the Python packages rouge_score and nltk: see README.md.
import json
from importlib.metadata import version

from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer

PAIRS = [
    ("The cat sat on the mat.", "A cat was sitting on a mat!"),
    ("police killed the gunman", "the gunman police killed"),
    ("", "something"),
    ("same same same", "same same"),
    ("Dosage: 2.5mg twice-daily (b.i.d.), for the flu's symptoms.", "The dosages are 2.5 mg twice daily for symptoms of flu"),
    ("naïve café costs 5€ — déjà vu", "naive cafe cost 5 deja vus"),
    ("The patient denies any relational difficulties; operating probably fully logically.",
     "Patients denied relations, operations, probability, fullness and logic."),
    ("one", "one"),
    ("one two\nthree four\n\nfive", "five four three two one"),
    ("Skies were dying, innings proceeding, lies tied and generalizations hopping happily.",
     "The sky dies; an inning proceeds; it lied and tying generalised hops are happy."),
]

STEMS = """a ab act be by hop dry cry try say enjoy enjoyed toy spy dyed
care cares caress caresses ponies pony ties tie ties dies dried tried cried lied agreed feed seed freed need
plastered bled motoring sing sings singing bring king conflated troubled sized hopping tanned falling hissing fizzed failing filing
fizz tall sky skies dying lying tying news innings inning outings outing cannings canning howe proceed exceed succeed proceeds
happy happily sky fly flies by relational conditional rational valency valenci hesitancy digitizer conformably radically differently vilely
analogously vietnamization predication operator feudalism decisiveness hopefulness callousness formality sensitivity sensibility
triplicate formative formalize electricity electrical hopeful goodness revival allowance inference airliner gyroscopic adjustable defensible
irritant replacement adjustment dependent adoption homologous communism activate angularity homologies effective bowdlerize probate rate cease
controlling rolling controll roll fully beautifully carefully analogy analogies biology biological biologically theology logic logically apology
generally generalization generalizations oscillators national nationally really totally finally ally allies valley volley alley
usefully wonderfully awfully probably possibly ably nobly simply amply apply applies yes yield yeyes syzygy rhythm rhythms
mission vision decision nation ion ions lion million session version extension ocean cement element elements comment moment event
ee agree agrees seeing being been doing going red bed sled shed wed weeds bing thing things something morning during
aed eed ied died tied pied shied using used uses user ate hate hated state stated inflated disable disabled size seize seized
jazz jazzed boxes boxed snowed played tray trayed aeiou bcdfg 123 2021 mp3 covid19 x yyyy eye eyes eyed
organization organisations organisational organise patients patient patiently difficulties difficulty cities city universities university
geological geology pedagogical pedagogi logi blogi dogi ability abilities abli ousli lessli gali fulli""".split()

scorers = {s: rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=s) for s in (False, True)}
out = {"rouge_score": version("rouge_score"), "nltk": version("nltk"), "pairs": [], "stems": {}}
for text, reference in PAIRS:
    row = {"text": text, "reference": reference}
    for stemmed, scorer in scorers.items():
        s = scorer.score(reference, text)
        row["stemmed" if stemmed else "plain"] = [s[k].fmeasure for k in ("rouge1", "rouge2", "rougeL")]
    out["pairs"].append(row)
stem = PorterStemmer().stem
out["stems"] = {w: stem(w) for w in STEMS}
print(json.dumps(out, indent=1, ensure_ascii=False))
