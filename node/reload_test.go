package node

import (
	"testing"
	"time"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/shipper"
)

// TestReplaysAndAuditsUseTheFlushOfAReload: what is opened after a reload takes
// batches as the configuration in use says, not as that of the start did. A replay
// has bounds of its own besides.
func TestReplaysAndAuditsUseTheFlushOfAReload(t *testing.T) {
	n := open(t)
	next := n.cfg
	n.load = func() (config.Config, error) { return next, nil }
	check := func(when string, replay, audit shipper.Flush) {
		t.Helper()
		_, flush, err := n.openDestination(shipper.Destination{Into: clickhouseCursor})
		if err != nil || flush != replay {
			t.Errorf("%s: a replay's flush is %+v, %v; want %+v", when, flush, err, replay)
		}
		target, err := n.destination(clickhouseCursor)
		if err != nil {
			t.Fatal(err)
		}
		target.Close()
		if target.Flush != audit {
			t.Errorf("%s: an audit's flush is %+v, want %+v", when, target.Flush, audit)
		}
	}
	bounds := shipper.Flush{Rows: replayRows, Bytes: replayBytes, Age: replayAge}
	check("at the start", bounds, clickhouseFlush(n.cfg))
	for _, flush := range []config.Flush{
		{Rows: 123, Bytes: 4 << 10, Age: 3 * time.Second},
		{Rows: 200_000, Bytes: 64 << 20, Age: 3 * time.Second},
	} {
		next.Shippers.ClickHouse.Flush = flush
		if r, err := n.Reload(admin.Command{By: "ann", Why: "a test"}); err != nil || len(r.Applied) == 0 || len(r.Refused) > 0 {
			t.Fatalf("reload: %+v, %v", r, err)
		}
		check("after a reload",
			shipper.Flush{Rows: min(flush.Rows, replayRows), Bytes: min(int64(flush.Bytes), replayBytes), Age: replayAge},
			shipper.Flush{Rows: flush.Rows, Bytes: int64(flush.Bytes), Age: flush.Age})
	}
}
