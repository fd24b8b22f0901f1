package node_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"forebay/node/admin"
	"forebay/node/nodetest"
	"forebay/shipper"
)

// TestRewindsTellWhatIsNoLongerKept whichever way they say where to go, in the
// preview and when they are made; and so does a replay.
func TestRewindsTellWhatIsNoLongerKept(t *testing.T) {
	c := nodetest.Config(t)
	c.WAL.SegmentBytes, c.WAL.Retain.Bytes, c.WAL.Compression = 64<<10, 64<<10, "none"
	key := nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	began := time.Now()
	wide := nodetest.Event("s", `,"metadata":{"note":"`+strings.Repeat("x", 4000)+`"}`)
	for range 60 {
		if status, body := n.Post(key, wide); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
	}
	nodetest.Eventually(t, time.Minute, func() bool {
		s := n.Status()
		return s.Log.FirstSeq > 1 && s.Cursors[0].LagEvents == 0
	}, "retention has removed something")
	for name, ask := range map[string]admin.RewindRequest{
		"to-seq":   {ToSeq: 1},
		"to-start": {ToStart: true},
		"to-time":  {ToTime: began},
		"by":       {Back: admin.Duration(time.Hour)},
	} {
		for _, apply := range []bool{false, true} {
			ask.Apply = apply
			r, err := n.Admin.Rewind(ctx, "archive", ask)
			byTime := name == "to-time" || name == "by"
			if err != nil || r.NotKept == 0 || r.NotKept != r.Oldest-1 || r.AtMost != byTime || r.Since.IsZero() == byTime || r.Until.IsZero() == byTime {
				t.Errorf("--%s, apply %t: %+v, %v; want %d not kept", name, apply, r.Removed, err, r.Oldest-1)
			}
			nodetest.Eventually(t, time.Minute, func() bool { return n.Status().Cursors[0].LagEvents == 0 }, "it is delivered again")
		}
	}
	if r, err := n.Admin.Rewind(ctx, "archive", admin.RewindRequest{ToTime: n.Status().Log.RewindTo}); err != nil || r.NotKept != 0 {
		t.Errorf("to the oldest that is kept: %+v, %v; want nothing missing", r.Removed, err)
	}
	p, err := n.Admin.StartReplay(ctx, admin.ReplayRequest{FromTime: began, ReplaySpec: shipper.ReplaySpec{Destination: shipper.Destination{Into: "session", URL: "http://127.0.0.1:1"}}})
	if err != nil || p.Preview.NotKept != p.Preview.Spec.First-1 || !p.Preview.AtMost || p.Preview.Since.IsZero() {
		t.Errorf("replay from a time: %+v, %v; want all before it not kept", p.Preview, err)
	}
}
