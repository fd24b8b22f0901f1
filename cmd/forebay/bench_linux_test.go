package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"forebay/node/admin"
	"forebay/node/nodetest"
)

const (
	benchRounds = 5           // of each server, in turn
	benchRound  = time.Second // how long one is
)

// BenchmarkFrontDoor measures a node, as `forebay run` starts it, with
// everything on and a sync before every reply, beside its ceiling: a net/http
// and httprouter server that reads the body and sends the same reply. Both are
// processes of their own; they are loaded in turn, for five rounds of a second
// each, by connections that send one request after the other, each with ten
// events of about 350 bytes with fresh IDs. Every event must have been accepted.
//
// How to read the table:
//
//   - A row is a number of connections and a kind of sender. "bare" writes bytes
//     and looks for the reply; it costs next to nothing, so the ratio is the
//     harshest that can be had. "net/http" is what a sender in Go uses. Senders
//     share the machine with the server. In the row "one core" the server may
//     use one core only.
//   - requests/s, p50 and p99 are medians over the rounds. ratio is the median of
//     the rounds' own ratios, so that what else the machine does disturbs both
//     sides alike. With one connection it is the ratio of one sync to none, and
//     says more about the disk than about the node.
//   - CPU is user and system time. µs/request and s/M events (for a million
//     events) are those of the server's process alone, and so is the ratio next
//     to them; the ratio "with senders" counts the senders' process on both
//     sides.
//   - MB is the most memory that the process has had resident, up to the end of
//     the row.
//
// The node's log is on the disk of the working tree, or in BENCH_DIR. Of
// b.N only the first run counts, so -benchtime plays no part.
func BenchmarkFrontDoor(b *testing.B) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\t\trequests/s\t\t\tp50 ms\t\tp99 ms\t\tCPU µs/request\t\tCPU s/M events\t\t\twith\tpeak MB\t\t")
	fmt.Fprintln(w, "connections\tsender\tceiling\tnode\tratio\tceiling\tnode\tceiling\tnode\tceiling\tnode\tceiling\tnode\tratio\tsenders\tceiling\tnode\t")
	for _, r := range []benchRow{
		{connections: 1}, {connections: 64}, {connections: 256}, {connections: 64, oneCore: true},
		{connections: 64, http: true}, {connections: 256, http: true},
	} {
		done := false
		b.Run(r.name(), func(b *testing.B) {
			if !done {
				r.run(b, w)
				done = true
			}
		})
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	fmt.Println(table.String())
}

// benchRow is one row of the table.
type benchRow struct {
	connections int
	http        bool // else bare
	oneCore     bool
}

func (r benchRow) sender() string {
	if r.http {
		return "net/http"
	}
	return "bare"
}

func (r benchRow) name() string {
	name := fmt.Sprintf("connections=%d/sender=%s", r.connections, r.sender())
	if r.oneCore {
		name += "/cores=1"
	}
	return name
}

func (r benchRow) run(b *testing.B, table io.Writer) {
	top := startCeiling(b, r.oneCore)
	defer top.end()
	node := startBenchNode(b, r.oneCore, func(dir string) string {
		return fmt.Sprintf("{clickhouse: {enabled: false}, session: {enabled: false}, archive: {enabled: true, dir: %q}}", dir)
	})
	// It would catch up while the ceiling has its turn.
	if _, err := admin.NewClient(node.admin, "").Pause(context.Background(), "archive", admin.PauseRequest{}); err != nil {
		b.Fatal(err)
	}
	defer node.end()
	dial := dialBare
	if r.http {
		dial = dialHTTP
	}
	for _, s := range []*benchServer{top, node} {
		var err error
		s.clients, err = dialBench(r.connections, dial, s.addr, s.key)
		defer s.clients.close()
		if err != nil {
			b.Fatal(err)
		}
	}
	for range benchRounds {
		top.round(b)
		node.round(b)
	}
	ratio := node.against(top, func(f benchFigures) float64 { return f.perSecond })
	cpuRatio := node.against(top, func(f benchFigures) float64 { return float64(f.cpu) })
	wholeRatio := node.against(top, func(f benchFigures) float64 { return float64(f.cpu + f.sender) })
	place := fmt.Sprint(r.connections)
	if r.oneCore {
		place += ", one core"
	}
	c, n := top.median(), node.median()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ratio, "ratio")
	b.ReportMetric(cpuRatio, "cpu-ratio")
	b.ReportMetric(n.perSecond*benchEvents, "events/s")
	b.ReportMetric(ms(n.p50), "p50-ms")
	b.ReportMetric(ms(n.p99), "p99-ms")
	b.ReportMetric(us(n.cpu)/benchEvents, "cpu-s/Mevents")
	b.ReportMetric(node.peakMB(b), "peak-MB")
	fmt.Fprintf(table, "%s\t%s\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t\n", place, r.sender(),
		c.perSecond, n.perSecond, ratio, ms(c.p50), ms(n.p50), ms(c.p99), ms(n.p99),
		us(c.cpu), us(n.cpu), us(c.cpu)/benchEvents, us(n.cpu)/benchEvents, cpuRatio, wholeRatio, top.peakMB(b), node.peakMB(b))
	status, err := admin.NewClient(node.admin, "").Status(context.Background())
	if want := uint64(benchEvents * node.clients.sent()); err != nil || status.Ledger.Events.Accepted != want {
		b.Errorf("%d of %d events were accepted (%v): %+v", status.Ledger.Events.Accepted, want, err, status.Ledger)
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func median[T cmp.Ordered](all []T) T {
	slices.Sort(all)
	return all[len(all)/2]
}

// benchServer is one of the two servers.
type benchServer struct {
	addr, admin, key string
	keys             string // its key file
	cmd              *exec.Cmd
	clients          benchClients
	rounds           []benchFigures
}

// benchFigures are what a round has shown.
type benchFigures struct {
	perSecond float64
	p50, p99  time.Duration
	cpu       time.Duration // of the server, a request
	sender    time.Duration // of this process, a request
}

// startCeiling starts the ceiling.
func startCeiling(b *testing.B, oneCore bool) *benchServer {
	s := &benchServer{addr: nodetest.FreeAddr(b), key: "none"}
	s.start(b, oneCore, "ceiling", s.addr)
	return s
}

// startBenchNode starts a node with the shippers that are returned for a
// directory, in YAML.
func startBenchNode(b *testing.B, oneCore bool, shippers func(dir string) string) *benchServer {
	parent := os.Getenv("BENCH_DIR")
	if parent == "" {
		parent = "."
	}
	dir, err := os.MkdirTemp(parent, ".bench-")
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	s := &benchServer{addr: nodetest.FreeAddr(b), admin: nodetest.FreeAddr(b)}
	s.keys = filepath.Join(dir, "keys.yaml")
	text, err := exec.Command("forebay", "keys", "create", "--file", s.keys, "--project", "shop", "--rate", "1000000", "--burst", "1000000").Output()
	if err != nil {
		b.Fatal(err)
	}
	s.key = strings.TrimSpace(string(text))
	config := filepath.Join(dir, "forebay.yaml")
	err = os.WriteFile(config, fmt.Appendf(nil, `node: {id: bench, data_dir: %q}
log: {level: error}
ingest: {listen: %q}
admin: {listen: %q}
keys: {source: file, file: {path: %q}}
shippers: %s
`, filepath.Join(dir, "data"), s.addr, s.admin, s.keys, shippers(filepath.Join(dir, "archive"))), 0o600)
	if err != nil {
		b.Fatal(err)
	}
	s.start(b, oneCore, "forebay", "run", "--config", config)
	return s
}

// start runs the server and returns once it listens. With oneCore it may use
// only the last of the cores that this process has.
func (s *benchServer) start(b *testing.B, oneCore bool, args ...string) {
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stderr = os.Stderr
	begin := func() {
		if err := s.cmd.Start(); err != nil {
			b.Fatal(err)
		}
	}
	if oneCore {
		onOneCore(b, begin)
	} else {
		begin()
	}
	nodetest.Eventually(b, waitLimit, func() bool {
		clients, err := dialBench(1, dialBare, s.addr, "none")
		clients.close()
		return err == nil
	}, "%s answers", args[0])
}

func (s *benchServer) end() {
	_ = s.cmd.Process.Kill() // what it has stored is of no use
	_ = s.cmd.Wait()
}

// round loads the server once.
func (s *benchServer) round(b *testing.B) {
	server, sender := cpuTime(b, s.cmd.Process.Pid), cpuTime(b, os.Getpid())
	times, took, err := s.clients.load(benchRound)
	if err != nil {
		b.Fatal(err)
	}
	n := len(times)
	s.rounds = append(s.rounds, benchFigures{
		perSecond: float64(n) / took.Seconds(), p50: times[n/2], p99: times[n*99/100],
		cpu:    (cpuTime(b, s.cmd.Process.Pid) - server) / time.Duration(n),
		sender: (cpuTime(b, os.Getpid()) - sender) / time.Duration(n),
	})
}

// against is the median of the rounds' ratios of a figure.
func (s *benchServer) against(top *benchServer, figure func(benchFigures) float64) float64 {
	var ratios []float64
	for i, r := range s.rounds {
		ratios = append(ratios, figure(r)/figure(top.rounds[i]))
	}
	return median(ratios)
}

// median has the median of each figure over all rounds.
func (s *benchServer) median() (m benchFigures) {
	var perSecond []float64
	var p50, p99, cpu []time.Duration
	for _, r := range s.rounds {
		perSecond, p50, p99, cpu = append(perSecond, r.perSecond), append(p50, r.p50), append(p99, r.p99), append(cpu, r.cpu)
	}
	return benchFigures{perSecond: median(perSecond), p50: median(p50), p99: median(p99), cpu: median(cpu)}
}

// cpuTime is the processor time that a process has used.
func cpuTime(b *testing.B, pid int) time.Duration {
	const schedClock = 2 // the kernel's CPUCLOCK_SCHED: user and system time, in nanoseconds
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Nano())
}

// peakMB is the most memory that the process has had resident.
func (s *benchServer) peakMB(b *testing.B) float64 { return memoryMB(b, s.cmd.Process.Pid, "VmHWM:") }

// memoryMB is a figure in MB that Linux keeps of a process.
func memoryMB(tb testing.TB, pid int, field string) float64 {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, field); found {
			kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			if err != nil {
				tb.Fatal(err)
			}
			return kb / 1024
		}
	}
	tb.Fatalf("/proc has no %s", field)
	return 0
}
