package shipper_test

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"forebay/shipper"
	"forebay/shipper/shippertest"
	"forebay/wal"
)

// spoil damages the block that holds seq where it lies on disk.
func spoil(t *testing.T, rig *shippertest.Rig, dir string, seq uint64) {
	t.Helper()
	b, gap, err := shipper.Block(rig.Log, seq)
	if err != nil || b == nil {
		t.Fatalf("block of seq %d: %+v, %v", seq, gap, err)
	}
	at := b.Offset + 100
	f, err := os.OpenFile(filepath.Join(dir, filepath.Base(b.File)), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var one [1]byte
	if _, err := f.ReadAt(one[:], at); err != nil {
		t.Fatal(err)
	}
	one[0] ^= 0xff
	if _, err := f.WriteAt(one[:], at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamageBetweenTwoReads: events that were handed out and are found damaged
// when their plan is read again are lost, and not delivered as well.
func TestDamageBetweenTwoReads(t *testing.T) {
	dir := t.TempDir()
	log, err := wal.Open(wal.Options{Dir: dir, SegmentBytes: 64 << 10, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	rig := &shippertest.Rig{TB: t, Log: log, State: shippertest.NewState()}
	for range 3 {
		rig.Append("p", "a", 2)
	}
	const behind = 6 // so many that none of those three is in the log's memory any more
	for range behind {
		rig.Append("p", "a", 1)
	}
	ship := rig.Start(shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
		if _, err := feed.Next(ctx); err != nil {
			return err
		}
		spoil(t, rig, dir, 3)
		b, err := feed.Read(ctx, 1, 6)
		if err != nil {
			return err
		}
		if len(b.Events) != 4 {
			t.Errorf("read again: %d events, want 4", len(b.Events))
		}
		if err := feed.Advance(7); err != nil {
			return err
		}
		for {
			b, err := feed.Next(ctx)
			if err != nil {
				return err
			}
			if err := feed.Advance(b.Last + 1); err != nil {
				return err
			}
		}
	}), shipper.Flush{Rows: 6, Bytes: 1 << 20}, shipper.Options{})
	ship.WaitDone()
	s := ship.Status()
	if want := []shipper.Range{{First: 3, Last: 4}}; !reflect.DeepEqual(s.Lost, want) {
		t.Errorf("lost %v, want %v", s.Lost, want)
	}
	if s.Account.Imbalance != 0 || s.Account.Shipped != 4+behind || s.Account.Lost != 2 {
		t.Errorf("the account: %+v; want %d shipped and 2 lost", s.Account, 4+behind)
	}
}

// TestBuryKeepsWritesWithoutLetters, as it does beside some.
func TestBuryKeepsWritesWithoutLetters(t *testing.T) {
	rig := shippertest.NewRig(t)
	rig.Append("p", "a", 1)
	ship := rig.Start(shipFunc(func(ctx context.Context, feed *shipper.Feed) error {
		b, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		if err := feed.Bury(nil, shipper.Write{Key: "mark", Value: []byte("here")}); err != nil {
			return err
		}
		return feed.Advance(b.Last + 1)
	}), small, shipper.Options{})
	ship.WaitDone()
	if value, err := ship.Lane("mark"); err != nil || string(value) != "here" {
		t.Errorf("kept %q, %v", value, err)
	}
}
