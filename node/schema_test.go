package node_test

import (
	"strings"
	"testing"

	"forebay/node"
	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/nodetest"
	"forebay/shipper/clickhouse/clickhousetest"
)

// TestColumnsThatAreNotStored: check, metric, doctor and audit agree on what
// the table does not keep, while it is so and when it is over.
func TestColumnsThatAreNotStored(t *testing.T) {
	engine := nodetest.StartClickHouseEngine(t)
	engine.MustQuery(t, clickhousetest.PlainTable("events"))
	c := nodetest.Config(t)
	c.Shippers.ClickHouse = config.Default().Shippers.ClickHouse
	ch := &c.Shippers.ClickHouse
	ch.Addrs, ch.Protocol, ch.CreateTable = []string{engine.Addr()}, "http", false
	key := nodetest.Key(t, c)
	n := nodetest.Run(t, c)
	schema := func() (check admin.Check) {
		for _, check := range n.Status().Checks {
			if check.Name == "schema" {
				return check
			}
		}
		return check
	}
	becomes := func(ok bool) {
		t.Helper()
		nodetest.Eventually(t, limit, func() bool {
			n.Post(key, nodetest.Event("a", ""))
			c := schema()
			return c.Name != "" && c.OK == ok && n.Metrics()[`forebay_check_ok{check="schema"}`] == map[bool]float64{true: 1}[ok]
		}, "the check schema turns to %t: %+v", ok, n.Status().Checks)
	}
	becomes(true)

	engine.MustQuery(t, "ALTER TABLE events DROP COLUMN route")
	becomes(false)
	got := schema()
	const alter = "ALTER TABLE `default`.`events` ADD COLUMN `route` String"
	if !strings.Contains(got.Reason, "default.events") || !strings.Contains(got.Reason, "column route is missing") || !strings.Contains(got.Remedy, alter) {
		t.Errorf("the check says %+v", got)
	}
	nodetest.Eventually(t, limit, func() bool { return n.Metrics()[`forebay_clickhouse_unstored_values_total{column="route"}`] > 0 }, "values are counted")
	wantFinding(t, examine(c), "schema", node.FindingFail, "column route is missing", alter)
	settled(t, n)
	if r := audited(t, n.Admin, admin.AuditRequest{Cursor: "clickhouse"}); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "column route is missing") {
		t.Errorf("the audit says %q", r.Notes)
	}

	engine.MustQuery(t, "ALTER TABLE events ADD COLUMN route UInt32")
	becomes(false)
	nodetest.Eventually(t, limit, func() bool { return strings.Contains(schema().Reason, "column route is UInt32") }, "the check names the type: %+v", schema())

	engine.MustQuery(t, "ALTER TABLE events MODIFY COLUMN route String")
	becomes(true)
	settled(t, n)
}
