package node_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/nodetest"
	"forebay/shipper"
)

// TestRefusedRowsTellNoValues has ClickHouse refuse rows, which it does with
// their values in the message: the reason of a dead letter, the status, the
// metrics and the log name the constraint, and no value.
func TestRefusedRowsTellNoValues(t *testing.T) {
	engine := nodetest.StartClickHouseEngine(t)
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	c.Shippers.ClickHouse.Enabled = true
	c.Shippers.ClickHouse.Addrs, c.Shippers.ClickHouse.Protocol = []string{engine.Addr()}, "http"
	c.Shippers.ClickHouse.Flush.Age = 10 * time.Millisecond
	var logged logBuffer
	n := nodetest.RunWith(t, c, node.Options{Version: "test", Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	n.Post(key, nodetest.Event("s", ""))
	rows := func(want int) {
		t.Helper()
		nodetest.Eventually(t, time.Minute, func() bool {
			got, err := engine.Query("SELECT count() FROM events")
			return err == nil && strings.TrimSpace(got) == fmt.Sprint(want)
		}, "%d rows are there", want)
	}
	rows(1)
	engine.MustQuery(t, "ALTER TABLE events ADD CONSTRAINT short_metadata CHECK length(metadata) < 20")
	n.Post(key, nodetest.Event("s", ""), nodetest.Event("s", `,"metadata":{"note":"`+keptMark+`"}`), nodetest.Event("s", ""))
	var reason string
	nodetest.Eventually(t, time.Minute, func() bool {
		err := n.Admin.Dead(ctx, "clickhouse", nil, func(d shipper.DeadLetter) error { reason = d.Reason; return nil })
		return err == nil && reason != ""
	}, "the row is a dead letter")
	rows(3)
	if !strings.Contains(reason, "short_metadata") || strings.Contains(reason, keptMark) {
		t.Errorf("the letter's reason is %q", reason)
	}

	told := logged.String() + fetched(t, n, "/metrics", "/admin/v1/status", "/admin/v1/cursors/clickhouse", "/admin/v1/audit-log")
	trace, err := n.Admin.Trace(ctx, admin.TraceQuery{Seq: 3})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(trace)
	if err != nil {
		t.Fatal(err)
	}
	if told += string(text); strings.Contains(told, keptMark) {
		t.Errorf("a value is told: %s", around(told, keptMark))
	}
	if !strings.Contains(told, "short_metadata") && !strings.Contains(told, "469") {
		t.Errorf("nothing tells why the row was refused: %.2000s", told)
	}
}
