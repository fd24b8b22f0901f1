package shipper_test

import (
	"fmt"
	"strings"
	"testing"

	"forebay/shipper"
	"forebay/shipper/shippertest"
)

// TestOneUnreadableRecordLeavesTheOthers: a dead letter, a discarded seq, an entry of the audit trail, a replay and an
// audit that cannot be read are named and counted, and all else starts and serves.
func TestOneUnreadableRecordLeavesTheOthers(t *testing.T) {
	rig := shippertest.NewRig(t)
	log, state := rig.Log, rig.State
	rig.Append("shop", "s", 8)
	letters := func() []shipper.Write {
		var w []shipper.Write
		for seq := 1; seq <= 4; seq++ {
			w = append(w, shipper.Write{Key: fmt.Sprintf("dead/sink/%020d", seq), Value: fmt.Appendf(nil,
				`{"cursor":"sink","seq":%d,"log_id":%q,"raw":"e30=","reason":"bad"}`, seq, log.ID())})
		}
		return w
	}()
	letters[1].Value = []byte("{")
	damaged := append(letters,
		shipper.Write{Key: "dead/sink/x", Value: []byte("{}}")},
		shipper.Write{Key: "audit/00000000000000000001", Value: []byte(`{"number":1,"verb":"drain"}`)},
		shipper.Write{Key: "audit/00000000000000000002", Value: []byte("no JSON")},
		shipper.Write{Key: "audit/x", Value: []byte("{}")},
		shipper.Write{Key: "replay/replay-1", Value: []byte("no JSON")},
	)
	if err := state.Commit(damaged...); err != nil {
		t.Fatal(err)
	}
	cursors, err := shipper.NewCursors(shipper.Options{Log: log, State: state})
	if err != nil {
		t.Fatal(err)
	}
	c, err := cursors.Add("sink", &shippertest.Recorder{}, shipper.Flush{Rows: 1, Bytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shipper.NewReplays(cursors, shipper.ReplayOptions{}); err != nil {
		t.Fatalf("one unreadable replay keeps the node from starting: %v", err)
	}
	var verbs, reasons []string
	if err := cursors.Trail(func(e shipper.TrailEntry) error { verbs = append(verbs, e.Verb); return nil }); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(verbs, " "); got != "drain unreadable" {
		t.Errorf("the trail has %s", got)
	}
	if err := c.Dead(shipper.DeadFilter{}, func(d shipper.DeadLetter) error {
		reasons = append(reasons, fmt.Sprint(d.Seq, d.Unreadable))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(reasons, ", "); got != "1 false, 2 true, 3 false, 4 false" {
		t.Errorf("the dead letters are %s", got)
	}
	if got := c.Status().Dead; got != 4 {
		t.Errorf("%d dead letters are counted, want 4", got)
	}
	var keys []string
	for _, u := range cursors.Unreadable() {
		keys = append(keys, u.Key)
	}
	if got := strings.Join(keys, " "); got != "audit/00000000000000000002 audit/x dead/sink/00000000000000000002 dead/sink/x replay/replay-1" {
		t.Errorf("named as unreadable: %s", got)
	}
	if n, err := c.Requeue(shipper.Command{}, shipper.DeadFilter{}); err != nil || n != 3 {
		t.Errorf("requeue of all = %d, %v; want the three that can be read", n, err)
	}
	if n, err := c.Discard(shipper.Command{}, shipper.DeadFilter{Seqs: []uint64{2}}); err != nil || n != 1 {
		t.Errorf("discard of the damaged one = %d, %v", n, err)
	}
	if got := len(cursors.Unreadable()); got != 4 || c.Status().Dead != 3 {
		t.Errorf("%d named, %d dead letters after the damaged one was discarded", got, c.Status().Dead)
	}
}
