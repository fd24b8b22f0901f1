package privacy_test

import (
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"testing"

	"forebay/router/privacy"
)

// generators append what events are full of and no detector may take for
// something else.
var generators = []struct {
	name string
	add  func([]byte, *rand.Rand) []byte
}{
	{"UUIDs", func(b []byte, r *rand.Rand) []byte {
		form := r.IntN(4)
		const digits = "0123456789abcdef0123456789ABCDEF"
		low := 16 * (form & 1)
		for i, bits := 0, uint64(0); i < 32; i++ {
			if i%16 == 0 {
				bits = r.Uint64()
			}
			if form < 3 && (i == 8 || i == 12 || i == 16 || i == 20) {
				b = append(b, '-')
			}
			b = append(b, digits[low+int(bits&15)])
			bits >>= 4
		}
		if form == 2 {
			b = append(append([]byte("{"), b...), '}')
		}
		return b
	}},
	{"epochs", func(b []byte, r *rand.Rand) []byte {
		unit := []int64{1, 1000, 1000, 1_000_000}[r.IntN(4)]
		if r.IntN(4) == 0 {
			b = append(b, "ts="...)
		}
		seconds := 978307200 + r.Int64N(2177452800-978307200) // the years 2001 to 2038
		return strconv.AppendInt(b, seconds*unit+r.Int64N(unit), 10)
	}},
	{"hashes", func(b []byte, r *rand.Rand) []byte {
		var sum [32]byte
		size := []int{8, 16, 20, 32}[r.IntN(4)]
		for i := range size {
			sum[i] = byte(r.Uint32())
		}
		switch r.IntN(4) {
		case 0:
			return base64.StdEncoding.AppendEncode(b, sum[:size])
		case 1:
			return base64.RawURLEncoding.AppendEncode(b, sum[:size])
		}
		return hex.AppendEncode(b, sum[:size])
	}},
	{"prices", func(b []byte, r *rand.Rand) []byte {
		form := r.IntN(4)
		point := []string{".", ",", ",", "."}[form]
		b = append(b, []string{"", "$", "-", "+", "EUR ", ""}[r.IntN(6)]...)
		if r.IntN(3) == 0 { // with its thousands apart
			gap := []string{",", ".", " ", " "}[form]
			b = strconv.AppendInt(b, 1+r.Int64N(999), 10)
			for range 1 + r.IntN(2) {
				b = append(b, gap...)
				b = strconv.AppendInt(b, 100+r.Int64N(900), 10)
			}
		} else {
			b = strconv.AppendInt(b, r.Int64N(100_000_000), 10)
		}
		b = append(b, point...)
		b = strconv.AppendInt(b, 10+r.Int64N(90), 10)
		return append(b, []string{"", " €", " USD"}[r.IntN(3)]...)
	}},
	{"selectors", func(b []byte, r *rand.Rand) []byte {
		tags := []string{"div", "li", "a", "button", "section", "#root", ".btn", "[type=email]", "input[name=phone]"}
		kinds := [][2]string{{"#x", ""}, {".c-", ""}, {":nth-child(", ")"}, {`[data-id="`, `"]`}, {"-", ""}}
		for step := range 1 + r.IntN(5) {
			if step > 0 {
				b = append(b, " > "...)
			}
			b = append(b, tags[r.IntN(len(tags))]...)
			if kind := kinds[r.IntN(len(kinds))]; r.IntN(2) == 0 {
				b = append(b, kind[0]...)
				b = strconv.AppendInt(b, r.Int64N(1<<(1+r.IntN(40))), 10)
				b = append(b, kind[1]...)
			}
		}
		return b
	}},
}

// TestGenerated looks at a million texts that are harmless.
func TestGenerated(t *testing.T) {
	const each, most = 200_000, 2 // one in 100,000
	checker, err := privacy.New(privacy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for n, g := range generators {
		t.Run(g.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(n), 20261124))
			var text []byte
			dropped := 0
			for range each {
				text = g.add(text[:0], random)
				if found := checker.Find(text, false); found != 0 {
					dropped++
					t.Logf("something is found in %s: %b", text, found)
				}
			}
			t.Logf("%d of %d would be dropped; the last was %s", dropped, each, text)
			if dropped > most {
				t.Errorf("%d of %d would be dropped, want at most %d", dropped, each, most)
			}
		})
	}
}
