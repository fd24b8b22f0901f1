package record_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"forebay/wal/record"
)

func batches() *rapid.Generator[record.Batch] {
	return rapid.Custom(func(t *rapid.T) record.Batch {
		sessions := rapid.SampledFrom([]string{"", "s1", "s2", "a much longer session name"})
		b := record.Batch{
			Project:    rapid.String().Draw(t, "project"),
			SDKVersion: rapid.String().Draw(t, "sdk"),
			AppID:      rapid.String().Draw(t, "app"),
		}
		for range rapid.IntRange(0, 20).Draw(t, "events") {
			b.Events = append(b.Events, record.Event{
				Session: sessions.Draw(t, "session"),
				Raw:     append([]byte{}, rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "raw")...),
			})
		}
		return b
	})
}

func TestDecodeReturnsWhatWasAppended(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := batches().Draw(t, "batch")
		prefix := []byte("before")
		encoded := record.Append(bytes.Clone(prefix), &want)
		if !bytes.HasPrefix(encoded, prefix) {
			t.Fatalf("Append changed what was before it: %q", encoded)
		}
		got, err := record.Decode(encoded[len(prefix):])
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %#v, want %#v", got, want)
		}
	})
}

// TestDecodeIntoUsedBatch reads one record after another into the same batch.
func TestDecodeIntoUsedBatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var got record.Batch
		for range rapid.IntRange(1, 5).Draw(t, "records") {
			want := batches().Draw(t, "batch")
			if err := got.Decode(record.Append(nil, &want)); err != nil {
				t.Fatal(err)
			}
			if len(want.Events) == 0 {
				want.Events = got.Events[:0]
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("got %#v, want %#v", got, want)
			}
		}
	})
}

func TestDecodeAliasesTheSource(t *testing.T) {
	src := record.Append(nil, &record.Batch{Events: []record.Event{{Session: "s", Raw: []byte("abc")}}})
	b, err := record.Decode(src)
	if err != nil {
		t.Fatal(err)
	}
	src[len(src)-1] = 'X'
	if string(b.Events[0].Raw) != "abX" {
		t.Fatalf("Raw is a copy: %q", b.Events[0].Raw)
	}
	if cap(b.Events[0].Raw) != len(b.Events[0].Raw) {
		t.Fatal("an append to Raw would write into the record")
	}
}

func TestDecodeRefusesEveryTruncation(t *testing.T) {
	src := record.Append(nil, &record.Batch{Project: "p", SDKVersion: "1", AppID: "a", Events: []record.Event{
		{Session: "s1", Raw: []byte(`{"a":1}`)}, {Session: "s1", Raw: []byte(`{}`)}, {Session: "s2", Raw: nil},
	}})
	for n := range src {
		if _, err := record.Decode(src[:n]); !errors.Is(err, record.ErrMalformed) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := record.Decode(append(src, 0)); !errors.Is(err, record.ErrMalformed) {
		t.Errorf("a byte too many: %v", err)
	}
}

func TestDecodeNamesUnknownVersions(t *testing.T) {
	var unknown *record.VersionError
	if _, err := record.Decode([]byte{2, 0, 0, 0, 0}); !errors.As(err, &unknown) || unknown.Version != 2 {
		t.Fatalf("got %v", err)
	}
	if _, err := record.Decode([]byte{0, 0, 0, 0, 0}); !errors.Is(err, record.ErrMalformed) {
		t.Fatalf("got %v", err)
	}
}

func TestDecodeDoesNotTrustCounts(t *testing.T) {
	huge := []byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}
	if _, err := record.Decode(huge); !errors.Is(err, record.ErrMalformed) {
		t.Fatalf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Add([]byte{1, 0, 0, 0, 1, 0, 0})
	f.Add(record.Append(nil, &record.Batch{Project: "p", Events: []record.Event{{Session: "s", Raw: []byte("{}")}}}))
	f.Fuzz(func(t *testing.T, src []byte) {
		b, err := record.Decode(src)
		if err != nil {
			return
		}
		again, err := record.Decode(record.Append(nil, &b))
		if err != nil {
			t.Fatalf("what was decoded does not encode again: %v", err)
		}
		if !reflect.DeepEqual(b, again) {
			t.Fatalf("%#v became %#v", b, again)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	batch := record.Batch{Project: "p", SDKVersion: "1.0.0", AppID: "shop"}
	for range 10 {
		batch.Events = append(batch.Events, record.Event{Session: "5c2f-17", Raw: bytes.Repeat([]byte("x"), 350)})
	}
	src := record.Append(nil, &batch)
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := record.Decode(src); err != nil {
			b.Fatal(err)
		}
	}
}
