package data

import (
	"strings"
	"unicode"
)

// languageMethod is what the report says about its languages. lingua-go, which
// would know them better, brings 128 MB of models into the program.
const languageMethod = "estimated: by script, and in Latin and Cyrillic letters by frequent words"

// scripts that stand for one language, or for a name of their own.
var scripts = []struct {
	table *unicode.RangeTable
	name  string
}{
	{unicode.Latin, "latin"}, {unicode.Cyrillic, "cyrillic"}, {unicode.Han, "han"}, {unicode.Hiragana, "ja"}, {unicode.Katakana, "ja"},
	{unicode.Hangul, "ko"}, {unicode.Arabic, "ar"}, {unicode.Devanagari, "hi"}, {unicode.Greek, "el"}, {unicode.Hebrew, "he"},
	{unicode.Thai, "th"}, {unicode.Bengali, "bn"}, {unicode.Tamil, "ta"}, {unicode.Telugu, "te"}, {unicode.Georgian, "ka"},
	{unicode.Armenian, "hy"}, {unicode.Gujarati, "gu"}, {unicode.Kannada, "kn"}, {unicode.Malayalam, "ml"}, {unicode.Ethiopic, "am"},
	{unicode.Khmer, "km"}, {unicode.Lao, "lo"}, {unicode.Myanmar, "my"}, {unicode.Sinhala, "si"}, {unicode.Gurmukhi, "pa"},
}

// frequent are words that are common in one language and seldom words of the
// others here.
var frequent = map[string]string{
	"en": "the of and to is in that for it with was on are this which from have has not what you a i s by do as at be or an but his her he she they their will said who if were all can more no there one would about",
	"de": "der die und das ist nicht ein eine mit den von zu sich auch auf für dem wird wie sind oder",
	"fr": "le la les et des est une dans que qui pour pas sur avec du au ce sont plus nous vous",
	"es": "el la los las y de que en es una por con para no se del como más pero al",
	"it": "il di che è la per un una non sono con del della gli nel anche come più si",
	"pt": "o que de e do da em um uma não para com os as por mais se no na foi",
	"nl": "de het een van en is dat niet op te zijn met voor ook aan er maar wordt bij",
	"sv": "och att det som en är på för inte med av till den har ett om jag var kan",
	"da": "og at det som en er på for ikke med af til den har et om jeg var kan der",
	"pl": "i w nie na się że jest do z to jak o od po dla są przez ale który",
	"cs": "je se na že ale jako pro jsem jsou není které který podle byl bylo však jeho jen také nebo",
	"tr": "ve bir bu da de için ile ne çok daha olan gibi olarak en kadar var değil",
	"id": "yang dan di dengan untuk dari ini itu tidak dalam pada adalah akan ke oleh atau juga",
	"vi": "và của là có không được cho trong một người với các đã này để những khi",
	"ro": "și de la în nu care este un o cu pe pentru din mai sau fi sunt ce",
	"fi": "ja on ei se että en oli mutta kun niin hän myös ovat tai sen jos",
	"hu": "a az és hogy nem is egy ez van meg de csak már mint volt vagy",
	"ru": "и в не на что с по как это он из к но для от все так же был",
	"uk": "і в не на що з як це та до він але за від які є був також",
	"bg": "и в на не се да за от с че е като са по до това но при",
}

var languagesOfWord = func() map[string][]string {
	m := map[string][]string{}
	for _, language := range sortedKeys(frequent) {
		for word := range strings.FieldsSeq(frequent[language]) {
			m[word] = append(m[word], language)
		}
	}
	return m
}()

// languageSample is how many bytes are looked at.
const languageSample = 4096

// languageOf estimates a text's language as an ISO 639-1 code; "und" where
// there is nothing to go by, the script's name where no frequent word occurs.
func languageOf(text string) string {
	if len(text) > languageSample {
		text = strings.ToValidUTF8(text[:languageSample], "")
	}
	switch script := scriptOf(text); script {
	case "latin", "cyrillic":
		return byWords(text, script)
	case "han":
		return "zh"
	default:
		return script
	}
}

func scriptOf(text string) string {
	counts := map[string]int{}
	for _, r := range text {
		if !unicode.IsLetter(r) {
			continue
		}
		if r < 0x80 {
			counts["latin"]++
			continue
		}
		for _, s := range scripts {
			if unicode.Is(s.table, r) {
				counts[s.name]++
				break
			}
		}
	}
	// Japanese has most of its letters in Han.
	if counts["ja"] > 0 && 10*counts["ja"] >= counts["han"] {
		counts["ja"] += counts["han"]
		counts["han"] = 0
	}
	best := "und"
	for _, name := range sortedKeys(counts) {
		if counts[name] > counts[best] {
			best = name
		}
	}
	return best
}

func byWords(text, script string) string {
	score := map[string]float64{}
	for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) }) {
		for _, language := range languagesOfWord[word] {
			score[language] += 1 / float64(len(languagesOfWord[word]))
		}
	}
	best := script
	for _, language := range sortedKeys(score) {
		if score[language] > score[best] {
			best = language
		}
	}
	return best
}
