package clickhouse

import (
	"context"
	"testing"

	"forebay/shipper"
)

// TestRewindLeavesEachEventOnce rewinds to the start and to the middle, and
// takes a rewind back half-way: under FINAL the table has each event once.
func TestRewindLeavesEachEventOnce(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, _ string) {
		r := newRig(t)
		r.flush.Rows = 100
		r.append(350)
		r.start(o)
		r.shipped()
		wantEach(t, server, "", 350)
		epoch := r.cursor.Status().Epoch
		for _, to := range []uint64{1, 200} {
			m, err := r.cursor.Rewind(context.Background(), shipper.Command{}, to)
			if err != nil || m.To != to || m.Epoch <= epoch {
				t.Fatalf("rewind: %+v, %v", m, err)
			}
			epoch = m.Epoch
			r.append(10)
			r.shipped()
			wantEach(t, server, "FINAL", r.log.DurableSeq())
		}

		operator := shipper.Command{By: "ann"}
		if err := r.cursor.Pause(context.Background(), operator, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := r.cursor.Rewind(context.Background(), operator, 1); err != nil {
			t.Fatal(err)
		}
		if m, err := r.cursor.Step(context.Background(), operator); err != nil || m.To != 101 {
			t.Fatalf("step: %+v, %v", m, err)
		}
		if m, err := r.cursor.Undo(context.Background(), operator); err != nil || m.To != 371 {
			t.Fatalf("undo: %+v, %v", m, err)
		}
		if err := r.cursor.Resume(context.Background(), operator); err != nil {
			t.Fatal(err)
		}
		r.append(10)
		r.shipped()
		wantEach(t, server, "FINAL", 380)
	})
}
