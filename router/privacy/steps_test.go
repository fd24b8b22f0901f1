package privacy

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// maxSteps bounds the bytes that all detectors together look at in a text of n
// bytes: those of three forms of the text (as it is, decoded, joined), each
// looked over by every detector and, from some places, ahead.
func maxSteps(n int) int { return 1000 + 40*n }

// seeds hold something of every detector and disguise.
var seeds = []string{
	"", "john@example.com", "4111 1111 1111 1111", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.x", "+1 (415) 555-2671", "bearer:", "-----BEGIN ",
	"-----BEGIN RSA PRIVATE KEY-----", "123-45-6789", "123 45 6789", "DE89 3704 0044 0532 0130 00", "/a?email=x&b[phone]=y#zip=", "john%40example.com",
	"%25252540", `\u0040`, "ｊｏｈｎ＠ｅｘａｍｐｌｅ．ｃｏｍ", "j o h n @ e x a m p l e . c o m", "a @ b . c . d . e", "4 1 1 1  1 1 1 1", "\u200b\u00a0٤",
}

// adverse are parts that make detectors look far ahead, or often.
var adverse = []string{
	"@", " @ ", "a@a.", "a . ", "@a.a.a.a.a.a", "+1", "+", "+1 ", "1 ", "1", "4111 ", "4111-", "DE12", "de1", "eyJ", "eyJ.", ".eyJeyJeyJeyJeyJ", "bearer ", "bearer:a.",
	"-----", "-----begin ", "begin ", "-", "123-45-", "?a=", "&", "[a]=", "#", "%25", "%", `\u0025`, `\u`, "\x1b[1", "\x1b", "\x1b[31m", "％", "\u00a0", "\u200b", " a", "a  ", "é", "private key",
}

// stepCounter counts the steps of a text, by the built-in rules.
func stepCounter(t testing.TB) func(text []byte, isKey bool) int {
	t.Helper()
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	return func(text []byte, isKey bool) int {
		f := finder{denied: &c.denied, isKey: isKey}
		f.find(text)
		return f.steps
	}
}

// What a detector looks at grows with the text and no faster, whatever the text.
func TestStepsAreLinear(t *testing.T) {
	stepsOf := stepCounter(t)
	worst, worstPart := 0.0, ""
	for _, part := range append(adverse, seeds[1:]...) {
		for _, size := range []int{1000, 10_000, 50_000} {
			text := []byte(strings.Repeat(part, size/len(part)))
			got := stepsOf(text, false)
			if most := maxSteps(len(text)); got > most {
				t.Errorf("%d bytes of %q take %d steps, over %d", len(text), part, got, most)
			}
			if each := float64(got) / float64(len(text)); each > worst {
				worst, worstPart = each, part
			}
		}
	}
	t.Logf("at most %.1f steps a byte, in repeats of %q", worst, worstPart)
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(adverse), 1, 300).Draw(t, "parts"), "")
		if got, most := stepsOf([]byte(text), rapid.Bool().Draw(t, "key")), maxSteps(len(text)); got > most {
			t.Fatalf("%q takes %d steps, over %d", text, got, most)
		}
	})
}

// FuzzFind looks for texts that take too many steps, are changed, or make a
// detector fail.
func FuzzFind(f *testing.F) {
	stepsOf := stepCounter(f)
	for _, text := range append(adverse, seeds...) {
		f.Add([]byte(text), 1)
		f.Add([]byte(text), 50)
	}
	f.Fuzz(func(t *testing.T, part []byte, times int) {
		text := bytes.Repeat(part, min(max(times, 1), 100, 1+100_000/max(len(part), 1)))
		before := string(text)
		for _, isKey := range []bool{false, true} {
			if got, most := stepsOf(text, isKey), maxSteps(len(text)); got > most {
				t.Fatalf("%d bytes take %d steps, over %d", len(text), got, most)
			}
		}
		if string(text) != before {
			t.Fatal("the text was changed")
		}
	})
}
