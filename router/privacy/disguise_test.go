package privacy

import (
	"testing"
	"unicode"
)

func TestDecode(t *testing.T) {
	for text, want := range map[string]string{
		"a%40b":             "a@b",
		"a%2540b":           "a@b",
		"a%252540b":         "a@b",
		"a%25252540b":       "a%40b", // four times over
		"%EF%BC%A0":         "@",
		`\u0040\u00e9`:      "@é",
		`\\u0040`:           `\@`,
		`\ud83d\ude00%41`:   `\ud83d\ude00A`, // pairs are left
		"%zz%4\\u12%C3%A9%": "%zz%4\\u12é%",
		"ａ＠ｂ．ｃ　１２":          "a@b.c 12",
		"٤٢ ४२ 𝟙𝟚":          "42 42 12",
		"a\u200bb\u00adc":   "abc",
		"1\u00a02\u20113":   "1 2-3",
		"%2B1+415+555":      "+1 415 555",
		"n=+1415+(0)+5":     "n=+1415 (0) 5",
		"naïve 猫":           "naïve 猫",
		"\x1b[31ma\x1b[0m":  "a",
		"\x1b[1;38;5;9ma":   "a",
		`\u001b[31ma`:       "a",
		"\x1ba\x1b[1":       "a[1", // no sequence: only what shows nothing goes
		"\x1b[é":            "[é",
	} {
		f := finder{}
		if got, changed := f.decode([]byte(text)); string(got) != want || changed != (text != want) {
			t.Errorf("%q is decoded as %q (changed: %v), want %q", text, got, changed, want)
		}
	}
}

// Every decimal digit of Unicode folds to the one of its value.
func TestDigitsOfAllScripts(t *testing.T) {
	value := 0
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		if !unicode.IsDigit(r) {
			continue
		}
		if c, ok := foldRune(r); !ok || c != '0'+byte(value%10) {
			t.Errorf("%U folds to %q, want %d", r, c, value%10)
		}
		value++
	}
}

func TestJoin(t *testing.T) {
	for text, want := range map[string]string{
		"a b c d e f":            "abcdef",
		"a b c d e":              "", // too few
		"no 4 1 1 1  2 3 ok":     "no 4111 23 ok",
		"no  A B C   D E F  x y": "no  ABC DEF xy",
		"ab cd ef gh ij kl":      "",
		"é 1 2 3 4 5 6":          "é 123456",
		"1 2 3 4 5 6 ":           "123456 ",
		"":                       "",
	} {
		f := finder{}
		if got := f.join([]byte(text)); string(got) != want {
			t.Errorf("%q is joined as %q, want %q", text, got, want)
		}
	}
}
