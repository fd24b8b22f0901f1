package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"forebay/node/config"
	"forebay/node/nodetest"
	"forebay/shipper/clickhouse/clickhousetest"
)

// deployed is the text of a file under deploy.
func deployed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// alertNames are those of deploy/alerts.yml.
func alertNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(deployed(t, "alerts.yml"), -1) {
		names = append(names, m[1])
	}
	if len(names) == 0 {
		t.Fatal("alerts.yml has no alerts")
	}
	return names
}

// TestDeployedMetricsExist holds every metric that the dashboard and the alerts
// name, and every value of a label that they ask for, to what a node exports.
func TestDeployedMetricsExist(t *testing.T) {
	c := nodetest.Config(t)
	key := nodetest.Key(t, c)
	server := nodetest.StartClickHouse(t)
	server.MustQuery(t, strings.Replace(clickhousetest.PlainTable("events"), "route String,", "", 1))
	c.Shippers.ClickHouse = config.Default().Shippers.ClickHouse
	c.Shippers.ClickHouse.Addrs, c.Shippers.ClickHouse.CreateTable = []string{server.Addr()}, false
	c.Audit.Every = time.Minute
	n := nodetest.Run(t, c)
	if status, body := n.Post(key, nodetest.Event("s", "")); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	nodetest.Eventually(t, time.Minute, func() bool {
		m := n.Metrics()
		_, checked := m[`forebay_check_ok{check="schema"}`]
		return checked && m[`forebay_clickhouse_unstored_values_total{column="route"}`] > 0
	}, "a table is filled that lacks a column")
	res, err := http.Get(n.AdminURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	exported, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	metric := regexp.MustCompile(`\b(forebay_\w+)(?:\{([^}]*)\})?`)
	wanted := regexp.MustCompile(`(\w+)="([^"]*)"`) // exact values only: =~ takes a variable of the dashboard
	for _, name := range []string{"alerts.yml", "grafana.json"} {
		found := metric.FindAllStringSubmatch(strings.ReplaceAll(deployed(t, name), `\"`, `"`), -1)
		if len(found) < 10 {
			t.Errorf("%s names %d metrics", name, len(found))
		}
		for _, m := range found {
			labels := wanted.FindAllString(m[2], -1)
			if !slices.ContainsFunc(strings.Split(string(exported), "\n"), func(line string) bool {
				if !strings.HasPrefix(line, m[1]+"{") {
					return false
				}
				return !slices.ContainsFunc(labels, func(label string) bool {
					return !strings.Contains(line, "{"+label) && !strings.Contains(line, ","+label)
				})
			}) {
				t.Errorf("%s names %s, which a node does not export", name, m[0])
			}
		}
	}
}

// TestAlerts checks the rules and runs their cases in Prometheus' own tool, and
// holds that every alert has a case in which it fires and a line in the manual.
func TestAlerts(t *testing.T) {
	manual, err := os.ReadFile("../../node/OPERATING.md")
	if err != nil {
		t.Fatal(err)
	}
	cases := deployed(t, "alerts_test.yml")
	for _, name := range alertNames(t) {
		if fires := regexp.MustCompile(`alertname: ` + name + `\n\s+exp_alerts:\n\s+- exp_labels`); !fires.MatchString(cases) {
			t.Errorf("alerts_test.yml has no case in which %s fires", name)
		}
		if !strings.Contains(string(manual), "| `"+name+"` |") {
			t.Errorf("OPERATING.md does not say what to do about %s", name)
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("promtool is missing: run .ci/deps")
		}
		t.Skip("promtool is missing: make deps installs it")
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = "deploy"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
