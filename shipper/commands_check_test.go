package shipper_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"forebay/shipper"
)

// patience is how long the cursor may take to become what the model is.
const patience = 10 * time.Second

func (o *operator) awaitHeld() {
	o.ship.WaitFor(fmt.Sprintf("the sink has %+v", o.model.held), func() bool { return o.sink.has(o.model.held) })
}

// difference is what a cursor at rest has otherwise than the model.
func (o *operator) difference() string {
	m, s := o.model, o.ship.Status()
	if !o.sink.has(m.held) {
		return fmt.Sprintf("the sink has another batch than %+v", m.held)
	}
	if s.NextSeq != m.next || s.Epoch != m.epoch || s.ReplayTo != m.replay || (s.Pause != nil) != m.paused ||
		s.Discarded != m.discarded || s.Dead != len(m.dead) || s.Requeued != len(m.requeued()) {
		return fmt.Sprintf("want next %d, epoch %d, replay to %d, paused %v, discarded %d, dead %v", m.next, m.epoch, m.replay, m.paused, m.discarded, m.dead)
	}
	if s.Account.Imbalance != 0 || s.Account.Accepted != m.durable || s.Account.Pending != s.LagEvents {
		return fmt.Sprintf("the account does not balance: %+v", s.Account)
	}
	return ""
}

// check compares the cursor with the model.
func (o *operator) check() {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		d := o.difference()
		if d == "" {
			break
		}
		if time.Now().After(end) {
			o.Fatalf("%s\nthe cursor is %+v", d, o.ship.Status())
		}
	}
	m, s := o.model, o.ship.Status()
	skipped, dead := map[uint64]bool{}, map[uint64]bool{}
	for _, r := range s.Skipped {
		for seq := r.First; seq <= r.Last; seq++ {
			skipped[seq] = true
		}
	}
	if !maps.Equal(skipped, m.skipped) {
		o.Fatalf("skipped %v, want %v", skipped, m.skipped)
	}
	err := o.ship.Dead(shipper.DeadFilter{}, func(d shipper.DeadLetter) error { dead[d.Seq] = d.Requeued; return nil })
	if err != nil || !maps.Equal(dead, m.dead) {
		o.Fatalf("dead letters %v, %v\nwant %v", dead, err, m.dead)
	}
	o.checkDelivered()
	o.checkTrail()
	if seq := m.lost(); seq > 0 {
		o.Fatalf("event %d is below the position %d, and nothing became of it", seq, m.next)
	}
}

func (o *operator) checkDelivered() {
	got := o.sink.Delivered()
	for i := range got {
		got[i].Raw = ""
	}
	if !slices.Equal(got, o.model.delivered) {
		o.Fatalf("delivered %+v\nwant %+v", got, o.model.delivered)
	}
}

func (o *operator) checkTrail() {
	verbs := []string{}
	number := uint64(0)
	err := o.ship.Cursors.Trail(func(e shipper.TrailEntry) error {
		if number++; e.Number != number {
			return fmt.Errorf("entry %d follows %d", e.Number, number-1)
		}
		verbs = append(verbs, e.Verb)
		return nil
	})
	if err != nil || !slices.Equal(verbs, o.model.trail) {
		o.Fatalf("audit trail %v, %v\nwant %v", verbs, err, o.model.trail)
	}
}
