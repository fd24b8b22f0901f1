package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"forebay/node/admin"
	"forebay/node/nodetest"
	"forebay/router"
	"forebay/wal/seedtest"
)

const (
	silenceRequests = 5000 // of each outcome, unless BENCH_REQUESTS says otherwise
	silenceLoad     = 32   // connections that send all the time, where there is load
	silenceProbers  = 4    // connections that measure then; at rest there is one
	silenceBound    = 0.55

	silenceText = "Add to the cart"
	silenceMail = "ann@example.com" // as long
)

// BenchmarkSilence measures how well the time until the reply tells a stored
// batch from one that was refused, on a node as `forebay run` starts it. Stored
// and refused requests of the same size are sent in random order; the time
// counts from just before the last byte of the body is written, which is the
// closest look that a sender can take.
//
// How to read the table: a row is a size of the body and what else the node
// does: "rest" is nothing, "load" is 32 connections that send ten events after
// the other. p50 and p99 are those of stored requests. The other columns are
// the area under the ROC curve of the reply time between stored requests and
// those that were refused for that reason: 0.50 if time tells nothing, 1 if the
// refused ones take longer for certain, 0 if the stored ones do. Where it is
// more than 0.05 away from 0.50 the benchmark fails.
//
// BENCH_REQUESTS is the number of requests of each kind in each row; the full
// form is 20000. With 2000, chance alone puts one of the forty areas 0.02 away.
func BenchmarkSilence(b *testing.B) {
	n := silenceRequests
	if text := os.Getenv("BENCH_REQUESTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			b.Fatalf("BENCH_REQUESTS is %q, want a number", text)
		}
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "body\tnode\trequests\tp50 ms\tp99 ms\t%s\n", strings.Join(refusals, "\t"))
	for _, body := range []silenceBody{{1, silenceText}, {10, silenceText}, {100, silenceText}, {45, strings.Repeat(silenceText, 560)}} {
		for _, loaded := range []bool{false, true} {
			place := map[bool]string{false: "rest", true: "load"}[loaded]
			done := false
			b.Run(fmt.Sprintf("body=%s/node=%s", body.name(), place), func(b *testing.B) {
				if !done {
					fmt.Fprintf(w, "%s\t%s\t%d", body.name(), place, n)
					body.run(b, w, n, loaded)
					done = true
				}
			})
		}
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	fmt.Println(table.String())
}

// refusals are the reasons for which requests are refused here.
var refusals = []string{"wrong key", "garbage", "privacy", "duplicate", "rate limited"}

const storedKind = "stored"

type silenceBody struct {
	events int
	text   string // of each
}

func (s silenceBody) name() string {
	return fmt.Sprintf("%.1fKiB", float64(len(benchBody(idPlaceholder, s.events, s.text)))/1024)
}

// requests are one of each kind, of the same size. limited is a key whose
// bucket is empty.
func (s silenceBody) requests(key, limited string) map[string][]byte {
	good := benchBody(idPlaceholder, s.events, s.text)
	same := strings.ReplaceAll(good, idPlaceholder, strings.Repeat("7", len(idPlaceholder)))
	for at, i := strings.Index(same, `"idempotencyKey":"`), 0; at >= 0; i++ {
		at += len(`"idempotencyKey":"`)
		same = same[:at] + fmt.Sprintf("%08d", i) + same[at+8:]
		next := strings.Index(same[at:], `"idempotencyKey":"`)
		if next < 0 {
			break
		}
		at += next
	}
	return map[string][]byte{
		storedKind:     benchPost(key, good),
		"wrong key":    benchPost(strings.Repeat("x", len(key)), good),
		"garbage":      benchPost(key, strings.Repeat("garbage ", len(good)/8+1)[:len(good)]),
		"privacy":      benchPost(key, benchBody(idPlaceholder, s.events, silenceMail+s.text[len(silenceMail):])),
		"duplicate":    benchPost(key, same),
		"rate limited": benchPost(limited, good),
	}
}

func (s silenceBody) run(b *testing.B, table io.Writer, n int, loaded bool) {
	node := startBenchNode(b, false, func(dir string) string {
		return fmt.Sprintf("{clickhouse: {enabled: false}, session: {enabled: false}, archive: {enabled: true, dir: %q}}", dir)
	})
	defer node.end()
	text, err := exec.Command("forebay", "keys", "create", "--file", node.keys, "--project", "limited", "--rate", "0.000001", "--burst", "1").Output()
	if err != nil {
		b.Fatal(err)
	}
	requests := s.requests(node.key, strings.TrimSpace(string(text)))
	first := dialProbe(b, node.addr)
	nodetest.Eventually(b, waitLimit, func() bool {
		if _, err := first.send(requests["rate limited"]); err != nil {
			b.Fatal(err)
		}
		limited := false
		err := admin.NewClient(node.admin, "").Drops(context.Background(), admin.DropFilter{Reason: "rate_limited"}, func(d router.Drop) error {
			limited = limited || d.Project == "limited"
			return nil
		})
		return err == nil && limited
	}, "the limited key is known, and its bucket empty")
	for range 100 { // what is repeated is stored, and times are known
		for _, kind := range []string{"duplicate", storedKind} {
			if _, err := first.send(requests[kind]); err != nil {
				b.Fatal(err)
			}
		}
	}
	probers := []*probe{first}
	if loaded {
		for range silenceProbers - 1 {
			probers = append(probers, dialProbe(b, node.addr))
		}
		stop := loadNode(b, node)
		defer stop()
	}
	before := ledgerOf(b, node)
	times := measureKinds(b, probers, requests, n)
	checkKinds(b, before, ledgerOf(b, node), n, s.events)
	stored := slices.Sorted(slices.Values(times[storedKind]))
	fmt.Fprintf(table, "\t%.2f\t%.2f", ms(stored[len(stored)/2]), ms(stored[len(stored)*99/100]))
	worst := 0.5
	for _, kind := range refusals {
		area := separation(stored, times[kind])
		fmt.Fprintf(table, "\t%.3f", area)
		if worst = max(worst, area, 1-area); max(area, 1-area) > silenceBound {
			b.Errorf("%s can be told from stored by the time: AUC %.3f", kind, area)
		}
	}
	fmt.Fprintln(table)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(worst, "AUC")
}

// probe is a connection that measures single requests.
type probe struct {
	conn  net.Conn
	reply []byte
}

func dialProbe(b *testing.B, addr string) *probe {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return &probe{conn: conn, reply: make([]byte, 4096)}
}

// send sends a request, with fresh IDs, and returns the time from its last byte
// to the reply.
func (p *probe) send(request []byte) (time.Duration, error) {
	c := newBenchClientOf(bytes.Clone(request))
	c.renew()
	end := len(request) - 1
	if _, err := p.conn.Write(c.request[:end]); err != nil {
		return 0, err
	}
	begun := time.Now()
	if _, err := p.conn.Write(c.request[end:]); err != nil {
		return 0, err
	}
	for n := 0; n < len(p.reply); {
		m, err := p.conn.Read(p.reply[n:])
		if err != nil {
			return 0, err
		}
		if n += m; bytes.HasSuffix(p.reply[:n], []byte("\r\n\r\n"+`{"success":true}`)) {
			return time.Since(begun), nil
		}
	}
	return 0, errors.New("the reply is longer than any that was expected")
}

// measureKinds sends n requests of each kind, in random order.
func measureKinds(b *testing.B, probers []*probe, requests map[string][]byte, n int) map[string][]time.Duration {
	var order []string
	for kind := range requests {
		order = append(order, slices.Repeat([]string{kind}, n)...)
	}
	rand.New(rand.NewPCG(seedtest.Of(b), 0)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var mu sync.Mutex
	times := map[string][]time.Duration{}
	var all sync.WaitGroup
	for i, p := range probers {
		all.Go(func() {
			for at := i; at < len(order); at += len(probers) {
				took, err := p.send(requests[order[at]])
				if err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				times[order[at]] = append(times[order[at]], took)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return times
}

// loadNode keeps connections busy with requests that are stored, until stop.
func loadNode(b *testing.B, node *benchServer) (stop func()) {
	clients, err := dialBench(silenceLoad, dialBare, node.addr, node.key)
	if err != nil {
		b.Fatal(err)
	}
	over := make(chan struct{})
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if err := c.send(); err != nil {
					b.Error(err)
					return
				}
				c.times = c.times[:0]
			}
		})
	}
	return func() { close(over); all.Wait(); clients.close() }
}

func ledgerOf(b *testing.B, node *benchServer) router.Tally {
	s, err := admin.NewClient(node.admin, "").Status(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	return router.Tally{Requests: s.Ledger.Requests, Events: s.Ledger.Events}
}

// checkKinds fails the benchmark unless every request was refused for what it
// was to be refused for. Requests with a wrong key may be over the rate of
// their address, too.
func checkKinds(b *testing.B, before, after router.Tally, n, events int) {
	requests := func(reason string) uint64 { return after.Requests.Dropped[reason] - before.Requests.Dropped[reason] }
	if got := requests("unauthorized") + requests("rate_limited"); got != uint64(2*n) {
		b.Errorf("%d requests were refused for their key or rate, want %d", got, 2*n)
	}
	if got := requests("malformed"); got != uint64(n) {
		b.Errorf("%d requests were malformed, want %d", got, n)
	}
	for _, reason := range []string{"privacy", "duplicate"} {
		// What is repeated is stored again once the window is full.
		if got := after.Events.Dropped[reason] - before.Events.Dropped[reason]; got < uint64(n*events*99/100) {
			b.Errorf("%d events were dropped as %s, in %d requests of %d events", got, reason, n, events)
		}
	}
}

// separation is the area under the ROC curve: the chance that a refused request
// took longer than a stored one. The stored ones are in order.
func separation(stored, refused []time.Duration) float64 {
	sum := 0.0
	for _, took := range refused {
		below, _ := slices.BinarySearch(stored, took)
		upTo, _ := slices.BinarySearch(stored, took+1)
		sum += float64(below) + float64(upTo-below)/2
	}
	return sum / float64(len(stored)) / float64(len(refused))
}
