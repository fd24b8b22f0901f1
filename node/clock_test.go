package node_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/nodetest"
	"forebay/shipper/clickhouse/clickhousetest"
)

// machine is one whose clock can be set, and that runs a node on the directory
// of its configuration.
type machine struct {
	*nodetest.Node
	config config.Config
	key    string
	skew   atomic.Int64
	settle time.Duration
}

func newMachine(t *testing.T, c config.Config) *machine {
	return &machine{config: c, key: nodetest.Key(t, c)}
}

func (m *machine) boot(t *testing.T, skew time.Duration) {
	t.Helper()
	m.set(skew)
	m.Node = nodetest.RunWith(t, m.config, node.Options{
		Version: "test", Built: time.Now().Add(-90 * 24 * time.Hour), ClockSettle: m.settle,
		Now: func() time.Time { return time.Now().Add(time.Duration(m.skew.Load())) },
	})
}

func (m *machine) set(skew time.Duration) { m.skew.Store(int64(skew)) }

// send posts events that are stamped by a right clock.
func (m *machine) send(t *testing.T, keys ...string) (answer string) {
	t.Helper()
	events := make([]string, len(keys))
	for i, key := range keys {
		events[i] = nodetest.Event("a", `,"idempotencyKey":"`+key+`"`)
	}
	_, answer = m.Post(m.key, events...)
	return answer
}

// TestClockThatIsSetLaterLosesNoRows: what came while the clock was wrong is in a
// table with a TTL, with the time at which it came, and a repeat of it is none.
func TestClockThatIsSetLaterLosesNoRows(t *testing.T) {
	engine := clickhousetest.StartEngine(t)
	cases := map[string]time.Duration{
		"epoch": time.Until(time.Unix(3600, 0)), "behind": -40 * 24 * time.Hour,
		"ahead": 2 * 24 * time.Hour, "far": 10 * 365 * 24 * time.Hour,
	}
	var tables []string
	t.Run("all", func(t *testing.T) {
		for name, skew := range cases {
			for _, stopped := range []bool{false, true} {
				table := name
				if stopped {
					table += "_stopped"
				}
				tables = append(tables, table)
				t.Run(table, func(t *testing.T) {
					t.Parallel()
					clockIsSetLater(t, engine, table, skew, stopped)
				})
			}
		}
	})
	for _, table := range tables {
		engine.MustQuery(t, "OPTIMIZE TABLE "+table+" FINAL") // what the TTL would take is gone now
		if n := engine.MustQuery(t, "SELECT count() FROM "+table); strings.TrimSpace(n) != "4" {
			t.Errorf("%s has %s rows of 4", table, n)
		}
	}
}

func clockIsSetLater(t *testing.T, engine *clickhousetest.Engine, table string, skew time.Duration, stopped bool) {
	c := nodetest.Config(t)
	to := config.Default().Shippers.ClickHouse
	to.Enabled, to.Addrs, to.Protocol = true, []string{engine.Addr()}, "http"
	to.Table, to.CreateTable, to.TTL, to.Flush.Age = table, true, 30*24*time.Hour, 10*time.Millisecond
	c.Shippers.ClickHouse = to
	m := newMachine(t, c)
	m.boot(t, skew)
	if answer := m.send(t, "1", "2", "3"); !strings.Contains(answer, `"accepted":3`) && skew != 2*24*time.Hour {
		t.Fatalf("not accepted: %s", answer)
	}
	clock := func() admin.Check { return checkNamed(t, m.Status().Checks, "clock") }
	nodetest.Eventually(t, limit, func() bool { return !clock().OK }, "the clock is found to be wrong")
	if stopped {
		m.Stop()
		m.boot(t, 0)
	} else {
		m.set(0)
	}
	nodetest.Eventually(t, limit, func() bool { return m.Status().Accepting }, "the node is ready: %+v", clock())
	if answer := m.send(t, "1", "4"); !strings.Contains(answer, "duplicate") || !strings.Contains(answer, `"accepted":1`) {
		t.Errorf("a repeat and another: %s", answer)
	}
	settled(t, m.Node)
	query := "SELECT count(), countIf(received_at BETWEEN now() - 600 AND now() + 600) FROM " + table
	if rows := engine.MustQuery(t, query); strings.Join(strings.Fields(rows), " ") != "4 4" {
		t.Errorf("rows, and those with the right time: %s", rows)
	}
}

func checkNamed(t *testing.T, checks []admin.Check, name string) admin.Check {
	t.Helper()
	for _, c := range checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %s", name)
	return admin.Check{}
}
