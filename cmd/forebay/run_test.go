package main

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"
)

var gomaxprocs = regexp.MustCompile(`\ngo_sched_gomaxprocs_threads(?:\{[^}]*\})? (\d+)\n`)

// TestProcs looks at how many threads of a node may run Go code: at least four,
// whatever the machine, unless the environment says otherwise.
func TestProcs(t *testing.T) {
	for environment, right := range map[string]func(int) bool{
		"":  func(n int) bool { return n >= 4 },
		"3": func(n int) bool { return n == 3 },
	} {
		t.Run("GOMAXPROCS="+environment, func(t *testing.T) {
			t.Setenv("GOMAXPROCS", environment)
			p := newProcess(t, "shippers: {clickhouse: {enabled: false}, session: {enabled: false}, archive: {enabled: true, dir: "+t.TempDir()+"}}\n")
			p.start()
			res, err := http.Get("http://" + p.adminAddr + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			found := gomaxprocs.FindSubmatch(text)
			if err != nil || found == nil {
				t.Fatalf("the metrics do not say how many threads there are (%v):\n%s", err, text)
			}
			if n, err := strconv.Atoi(string(found[1])); err != nil || !right(n) {
				t.Errorf("%d threads may run Go code (%v)", n, err)
			}
		})
	}
}
