package state

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"forebay/router/auth"
	"forebay/shipper"
	"forebay/wal"
)

var _ auth.Cache = (*Store)(nil)

func makeKeys(count int) []auth.Key {
	keys := make([]auth.Key, count)
	for i := range keys {
		digest := auth.Digest(sha256.Sum256([]byte(fmt.Sprint(i))))
		keys[i] = auth.Key{ID: digest.ID(), Digest: digest, Project: "shop", RequestsPerSecond: 1.5, Burst: i, Strict: i%2 == 0,
			Origins: []string{"https://shop.example"}, ExpiresAt: time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)}
	}
	return keys
}

func sorted(keys []auth.Key) []auth.Key {
	keys = slices.Clone(keys)
	slices.SortFunc(keys, func(a, b auth.Key) int { return a.Digest.Compare(b.Digest) })
	return keys
}

func wantKeys(t *testing.T, s *Store, keys []auth.Key, at time.Time) {
	t.Helper()
	saved, err := s.LoadKeys()
	if err = errors.Join(err, saved.Unreadable); err != nil {
		t.Fatal(err)
	}
	got, gotAt := saved.Keys, saved.At
	if !gotAt.Equal(at) || len(got) != len(keys) || len(keys) > 0 && !reflect.DeepEqual(got, sorted(keys)) {
		t.Fatalf("%d keys of %v, want %d of %v", len(got), gotAt, len(keys), at)
	}
}

func TestKeysSurviveARestart(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	wantKeys(t, s, nil, time.Time{})
	at := time.Date(2026, 11, 23, 10, 0, 0, 123456789, time.UTC)
	keys := makeKeys(1000)
	steps := []func(){
		func() {},
		func() { keys[7].RevokedAt = at },
		func() { keys = keys[:500] },
		func() { keys = keys[:1] },
		func() { keys = nil },
		func() { keys = makeKeys(3) },
	}
	for _, step := range steps {
		step()
		at = at.Add(time.Minute)
		if err := s.SaveKeys(auth.Saved{Keys: keys, At: at, Source: "postgres"}); err != nil {
			t.Fatal(err)
		}
		wantKeys(t, s, keys, at)
		mustClose(t, s)
		s = mustOpen(t, fs)
		wantKeys(t, s, keys, at)
	}
	mustClose(t, s)
}

// TestOneKeyAmongManyIsCheap: what is written for a change does not grow with the whole set.
func TestOneKeyAmongManyIsCheap(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	keys := makeKeys(100_000)
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	if err := s.SaveKeys(auth.Saved{Keys: keys, At: at, Source: "postgres"}); err != nil {
		t.Fatal(err)
	}
	all := s.Stats().CommittedBytes
	mustClose(t, s)

	s = mustOpen(t, fs)
	before := s.Stats().CommittedBytes
	if err := s.SaveKeys(auth.Saved{Keys: keys, At: at.Add(time.Second), Source: "postgres"}); err != nil {
		t.Fatal(err)
	}
	same := s.Stats().CommittedBytes - before
	keys[5].RevokedAt = at
	if err := s.SaveKeys(auth.Saved{Keys: keys, At: at.Add(2 * time.Second), Source: "postgres"}); err != nil {
		t.Fatal(err)
	}
	one := s.Stats().CommittedBytes - before - same
	if same > 100 || one > all/100 {
		t.Errorf("%d bytes for all keys, %d for none, %d for one", all, same, one)
	}
	wantKeys(t, s, keys, at.Add(2*time.Second))
	mustClose(t, s)
}

// TestKeysThatCannotBeRead: what cannot be read of the cached keys leaves the others, is named, and is over with the
// next set.
func TestKeysThatCannotBeRead(t *testing.T) {
	keys := makeKeys(1000)
	for _, value := range []string{"", "{", `{"version":2,"keys":[]}`, `{"version":1,"keys":[{"key_sha256":"12"},7]}`} {
		s := mustOpen(t, vfs.NewMem())
		at := time.Now()
		if err := s.SaveKeys(auth.Saved{Keys: keys, At: at, Source: "postgres"}); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(set("key/set/00", value)); err != nil {
			t.Fatal(err)
		}
		saved, err := s.LoadKeys()
		if err != nil || saved.Unreadable == nil || !strings.Contains(saved.Unreadable.Error(), "key/set/00") || len(saved.Keys) < 900 || !saved.At.Equal(at) {
			t.Errorf("%q: %d keys, %v, %v", value, len(saved.Keys), saved.Unreadable, err)
		}
		if err := s.SaveKeys(auth.Saved{Keys: []auth.Key{{}}, At: at}); err == nil {
			t.Error("a key without a digest was saved")
		}
		mustClose(t, s)
	}
}

// TestDoubtIsKept: a doubt that is under way goes on after a restart, and keys say whose they are.
func TestDoubtIsKept(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	if err := s.Commit(set("key/at", `"2026-11-23T10:00:00Z"`)); err != nil {
		t.Fatal(err)
	}
	if saved, err := s.LoadKeys(); err != nil || saved.Source != "postgres" || saved.Doubt != nil {
		t.Errorf("what older programs have saved reads as %+v, %v", saved, err)
	}
	since := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	want := auth.Doubt{Since: since, Until: since.Add(time.Hour), Had: 9, Lost: 8, Offered: 1}
	if err := s.SaveKeys(auth.Saved{Keys: makeKeys(9), At: since, Source: "file /k", Doubt: &want}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	s = mustOpen(t, fs)
	if saved, err := s.LoadKeys(); err != nil || saved.Source != "file /k" || saved.Doubt == nil || *saved.Doubt != want {
		t.Errorf("read as %+v, %v", saved.Doubt, err)
	}
	mustClose(t, s)
}

// TestDenialsSurviveARestart, also one whose record cannot be read: the key stays denied.
func TestDenialsSurviveARestart(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	keys := makeKeys(3)
	for _, k := range keys {
		write, err := WriteDenial(auth.Denial{Digest: k.Digest, ID: k.ID, Project: "shop", At: time.Unix(1e9, 0).UTC(), By: "ann", Why: "leaked"})
		if err := errors.Join(err, s.Commit(write)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(set("key/denied/"+keys[1].Digest.String(), "{"), set("key/denied/x", "{}"), WriteNoDenial(keys[2].Digest)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	s = mustOpen(t, fs)
	denials, unreadable, err := s.LoadDenials()
	if err != nil || unreadable == nil || len(denials) != 2 {
		t.Fatalf("%+v, %v, %v", denials, unreadable, err)
	}
	for _, d := range denials {
		if d.Digest != keys[0].Digest && d.Digest != keys[1].Digest || d.At.IsZero() {
			t.Errorf("denial %+v", d)
		}
	}
	mustClose(t, s)
}

func TestMeta(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs)
	if id, err := s.LogID(); !id.IsZero() || err != nil {
		t.Errorf("LogID of a new store: %v, %v", id, err)
	}
	if seq, err := s.DurableSeq(); seq != 0 || err != nil {
		t.Errorf("DurableSeq of a new store: %v, %v", seq, err)
	}
	type ledger struct{ Received, Dropped int }
	var none ledger
	if found, err := s.LoadJSON("ledger/x", &none); found || err != nil {
		t.Errorf("LoadJSON of a new store: %v, %v", found, err)
	}
	id := wal.ID{1, 2, 3}
	for _, err := range []error{s.SetLogID(id), s.SetDurableSeq(1 << 63), s.SaveJSON("ledger/x", ledger{1, 2})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)
	s = mustOpen(t, fs)
	defer mustClose(t, s)
	var got ledger
	found, err := s.LoadJSON("ledger/x", &got)
	gotID, idErr := s.LogID()
	seq, seqErr := s.DurableSeq()
	if err != nil || idErr != nil || seqErr != nil || !found || got != (ledger{1, 2}) || gotID != id || seq != 1<<63 {
		t.Errorf("after a restart: %v %v, %v %v, %v %v", got, err, gotID, idErr, seq, seqErr)
	}
	if err := s.Commit(shipper.Write{Key: metaLogID, Value: []byte("x")}, shipper.Write{Key: metaDurableSeq, Value: []byte("x")},
		shipper.Write{Key: "ledger/x", Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	_, idErr = s.LogID()
	_, seqErr = s.DurableSeq()
	_, err = s.LoadJSON("ledger/x", &got)
	if idErr == nil || seqErr == nil || err == nil {
		t.Errorf("unreadable values are accepted: %v, %v, %v", idErr, seqErr, err)
	}
}
