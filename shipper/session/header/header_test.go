package header

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// ascending draws strictly ascending seqs.
func ascending(t *rapid.T) []uint64 {
	steps := rapid.SliceOfN(rapid.Uint64Range(1, 1<<40), 1, 200).Draw(t, "steps")
	at := uint64(0)
	for i, s := range steps {
		at += s
		steps[i] = at
	}
	return steps
}

func TestSeqsComeBackAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seqs := ascending(t)
		got, err := ParseSeqs(string(AppendSeqs(nil, seqs)))
		if err != nil || !slices.Equal(got, seqs) {
			t.Fatalf("got %v, %v; want %v", got, err, seqs)
		}
	})
	if got := string(AppendSeqs(nil, []uint64{118, 119, 120, 125})); got != "118,1,1,5" {
		t.Fatalf("written as %q", got)
	}
}

func TestKeysComeBackAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint64Range(1, 1<<60).Draw(t, "first")
		k := Key{
			LogID:   "00112233445566778899aabbccddeeff",
			Epoch:   rapid.Uint64().Draw(t, "epoch"),
			Session: NewSessionID(rapid.String().Draw(t, "project"), rapid.String().Draw(t, "session")),
			First:   first, Last: first + rapid.Uint64Range(0, 1<<20).Draw(t, "more"),
			Fill: rapid.Bool().Draw(t, "fill"),
		}
		got, err := ParseKey(k.String())
		if err != nil || got != k {
			t.Fatalf("got %+v, %v; want %+v", got, err, k)
		}
	})
}

func TestMalformedHeadersAreErrors(t *testing.T) {
	for _, s := range []string{"", ",", "0", "1,0", "1,-1", "x", "1,,2", "18446744073709551615,1"} {
		if got, err := ParseSeqs(s); err == nil {
			t.Errorf("seqs %q read as %v", s, got)
		}
	}
	for _, s := range []string{",", "0", "2-1", "3,2", "3,3", "1-", "-1", "1-18446744073709551615", "a"} {
		if got, err := ParseRanges(s); err == nil {
			t.Errorf("ranges %q read as %v", s, got)
		}
	}
	good := Key{LogID: "00112233445566778899aabbccddeeff", Epoch: 1, First: 1, Last: 2}.String()
	for _, s := range []string{"", ":", good[1:], good + ":x", good + "-", good[:len(good)-1], good[:len(good)-1] + "0"} {
		if got, err := ParseKey(s); err == nil {
			t.Errorf("key %q read as %+v", s, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("118,1,1,5")
	f.Add("1-3,7")
	f.Add("00112233445566778899aabbccddeeff:1:00112233445566778899aabbccddeeff:1-2:fill")
	f.Fuzz(func(t *testing.T, s string) {
		if seqs, err := ParseSeqs(s); err == nil {
			again, err := ParseSeqs(string(AppendSeqs(nil, seqs)))
			if err != nil || !slices.Equal(seqs, again) {
				t.Fatalf("seqs %q", s)
			}
		}
		if rs, err := ParseRanges(s); err == nil {
			again, err := ParseRanges(rs.String())
			if err != nil || !slices.Equal(rs, again) {
				t.Fatalf("ranges %q", s)
			}
		}
		if k, err := ParseKey(s); err == nil {
			if again, err := ParseKey(k.String()); err != nil || again != k {
				t.Fatalf("key %q", s)
			}
		}
	})
}

// TestRangesAreASet compares the ranges with a plain set of seqs.
func TestRangesAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rs Ranges
		set := map[uint64]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				first := rapid.Uint64Range(1, 60).Draw(t, "first")
				last := first + rapid.Uint64Range(0, 5).Draw(t, "more")
				rs = rs.Add(first, last)
				for s := first; s <= last; s++ {
					set[s] = true
				}
			},
			"remove": func(t *rapid.T) {
				seq := rapid.Uint64Range(1, 66).Draw(t, "seq")
				rs = rs.Remove(seq)
				delete(set, seq)
			},
			"": func(t *rapid.T) {
				if rs.Len() != uint64(len(set)) {
					t.Fatalf("%v holds %d seqs, want %d", rs, rs.Len(), len(set))
				}
				cut := rapid.Uint64Range(1, 66).Draw(t, "cut")
				below, from := rs.Below(cut), rs.From(cut)
				for s := uint64(1); s <= 66; s++ {
					if rs.Contains(s) != set[s] || below.Contains(s) != (set[s] && s < cut) || from.Contains(s) != (set[s] && s >= cut) {
						t.Fatalf("%v (below %d: %v, from: %v) is wrong about %d", rs, cut, below, from, s)
					}
				}
				for i := 1; i < len(rs); i++ {
					if rs[i-1].Last+1 >= rs[i].First {
						t.Fatalf("%v: ranges touch", rs)
					}
				}
				joined := rs.Clone().Join(3)
				if len(joined) > 3 {
					t.Fatalf("%v joined to %v", rs, joined)
				}
				for s := range set {
					if !joined.Contains(s) {
						t.Fatalf("%v lost %d when joined to %v", rs, s, joined)
					}
				}
			},
		})
	})
}
