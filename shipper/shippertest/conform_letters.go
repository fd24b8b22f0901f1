package shippertest

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"forebay/shipper"
	"forebay/wal"
)

// plainEvent is an event that every destination takes.
func plainEvent(session, text string) string {
	return fmt.Sprintf(`{"eventType":"click","timestamp":"2026-11-23T10:00:00Z","sessionId":%q,"route":"/cart","target":{"type":"element"},"metadata":{"text":%q}}`, session, text)
}

// poisonAt are the seqs of the events that appendPoison has refused.
var poisonAt = []uint64{4, 5, 11}

// appendPoison stores 14 events, some of which the destination refuses.
func (l *life) appendPoison() {
	l.Helper()
	for seq := uint64(1); seq <= 14; seq++ {
		if slices.Contains(poisonAt, seq) {
			l.rig.appendRaws("shop", "s1", l.Poison)
		} else {
			l.rig.Append("shop", fmt.Sprintf("s%d", seq%3), 1)
		}
	}
}

func (l *life) wantDead(seqs ...uint64) {
	l.Helper()
	var dead []uint64
	err := l.ship.Dead(shipper.DeadFilter{}, func(d shipper.DeadLetter) error {
		dead = append(dead, d.Seq)
		if d.Reason == "" || d.Attempts < 1 || d.BuriedAt.IsZero() || d.Session != "s1" || d.LogID != l.rig.Log.ID() {
			l.Errorf("letter %+v", d)
		}
		return nil
	})
	if err != nil || !slices.Equal(dead, seqs) {
		l.Fatalf("dead letters %v, %v; want %v", dead, err, seqs)
	}
}

func poison(t *trial) {
	l := t.begin()
	l.appendPoison()
	l.start()
	l.settled()
	l.wantDead(poisonAt...)
	l.want(span(1, 14, poisonAt...))
	l.append(4) // and it goes on
	l.settled()
	l.want(span(1, 18, poisonAt...))
}

// cure makes the letters deliverable: where nothing can make the destination
// take them, an operator has mended the events.
func (l *life) cure() {
	l.Helper()
	if l.Cure != nil {
		l.Cure()
		return
	}
	var mended []shipper.DeadLetter
	err := l.ship.Dead(shipper.DeadFilter{}, func(d shipper.DeadLetter) error {
		d.Raw = []byte(plainEvent("s1", "mended"))
		mended = append(mended, d)
		return nil
	})
	if err != nil {
		l.Fatal(err)
	}
	l.monitor.discarding(true)
	if _, err := l.ship.Discard(operator, shipper.DeadFilter{}); err != nil {
		l.Fatal(err)
	}
	l.monitor.discarding(false)
	if n, err := l.ship.Import(operator, mended); err != nil || n != len(mended) {
		l.Fatalf("import: %d, %v", n, err)
	}
}

func (l *life) requeue(want int) {
	l.Helper()
	if n, err := l.ship.Requeue(operator, shipper.DeadFilter{}); err != nil || n != want {
		l.Fatalf("requeue: %d, %v; want %d", n, err, want)
	}
}

func requeued(t *trial) {
	l := t.begin()
	l.appendPoison()
	l.start()
	l.settled()
	if l.Cure != nil {
		l.requeue(3) // too early: all are refused again
		l.settled()
		l.wantDead(poisonAt...)
	}
	l.cure()
	before := len(l.Arrived())
	l.requeue(3)
	l.append(4)
	l.settled()
	l.wantDead()
	if fills := slices.DeleteFunc(l.Arrived()[before:], func(seq uint64) bool { return seq > 14 }); !slices.IsSorted(fills) {
		t.Errorf("the letters came in the order %v", fills)
	}
	l.want(span(1, 18))
	l.ship.Stop()
	l.start()
	l.settled()
	l.want(span(1, 18))
}

// lostEvents has the log hold entries that nobody can read.
func lostEvents(t *trial) {
	l := t.begin()
	garbage := func(n int) {
		if _, err := l.rig.Log.Append(context.Background(), wal.Entry{Data: []byte("\x00 no record"), Events: n}); err != nil {
			t.Fatal(err)
		}
	}
	l.start()
	garbage(2) // alone: a batch of lost events only
	l.settled()
	l.append(2)
	garbage(4) // in the middle
	l.append(2)
	garbage(1) // at the end
	l.settled()
	l.ship.Stop()
	l.start()
	garbage(1)
	l.append(1)
	l.settled()
	want := []shipper.Range{{First: 1, Last: 2}, {First: 5, Last: 8}, {First: 11, Last: 12}}
	if s := l.ship.Status(); !reflect.DeepEqual(s.Lost, want) || s.Dead != 0 {
		t.Errorf("lost are %v, want %v; %d are dead", s.Lost, want, s.Dead)
	}
	l.want([]uint64{3, 4, 9, 10, 13})
}
