package main

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/time/rate"

	"forebay/node/nodetest"
)

// soakSample is what a node holds at one moment.
type soakSample struct {
	at                     time.Duration
	memoryMB, stateMB, lag float64 // lag in seconds, of the slowest cursor
	goroutines, files      float64
}

// TestSoak runs a node at half of what it can take and deliver for as long as SOAK_FOR says (`make soak`: an hour), and
// fails if memory, goroutines, open files or the state's size grow between the second quarter and the last, or if more
// than one sample in a hundred lags by two seconds.
func TestSoak(t *testing.T) {
	if os.Getenv("SOAK_FOR") == "" {
		t.Skip("runs with SOAK_FOR, such as 1h: make soak")
	}
	span, err := time.ParseDuration(os.Getenv("SOAK_FOR"))
	if err != nil {
		t.Fatal(err)
	}
	e := newEdge(t)
	e.setenv("FOREBAY_WAL_SEGMENT_BYTES", "8MiB")
	e.serveSessions()
	e.p.start()
	nodetest.Eventually(t, waitLimit, func() bool { return e.post(-1, 1) == nil }, "the key is known")

	full := e.soak(rate.Inf, min(span/10, 30*time.Second), nil)
	t.Logf("at full rate %.0f events/s are taken and delivered; now half of that for %s", full, span)
	samples := make(chan soakSample, 1000)
	e.soak(rate.Limit(full/2), span, samples)
	close(samples)
	var all []soakSample
	for s := range samples {
		all = append(all, s)
	}
	e.p.stop()
	judgeSoak(t, all)
}

// soak sends events at a rate and waits until they are delivered. It returns the events a second, all in all.
func (e *edge) soak(limit rate.Limit, span time.Duration, samples chan<- soakSample) float64 {
	const clients, perRequest = 16, 10
	limiter := rate.NewLimiter(limit, 10*perRequest)
	ctx, cancel := context.WithTimeout(e.tb.Context(), span)
	defer cancel()
	begun := time.Now()
	var senders sync.WaitGroup
	for i := range clients {
		senders.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := i; limiter.WaitN(ctx, perRequest) == nil && ctx.Err() == nil; n += clients {
				// Microseconds pass faster than requests, so no number was used by a soak before.
				if err := e.postWith(client, int(begun.UnixMicro())+n, perRequest); err != nil {
					e.tb.Errorf("request %d: %v", n, err)
					cancel() // what it would show is no soak
					return
				}
			}
		})
	}
	before, _ := cursorOf(e.tb, e.p.admin, "session")
	if samples != nil {
		e.sample(ctx, begun, max(span/500, 500*time.Millisecond), samples)
	}
	senders.Wait()
	s := e.p.settled()
	return float64(s.Log.DurableSeq-before.Log.DurableSeq) / time.Since(begun).Seconds()
}

// sample looks at the node until ctx ends.
func (e *edge) sample(ctx context.Context, begun time.Time, every time.Duration, samples chan<- soakSample) {
	pid := e.p.cmd.Process.Pid
	node := &nodetest.Node{TB: e.tb, AdminURL: "http://" + e.p.adminAddr}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s := soakSample{at: time.Since(begun), memoryMB: memoryMB(e.tb, pid, "VmRSS:"), goroutines: node.Metrics()["go_goroutines"]}
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			e.tb.Fatal(err)
		}
		s.files, s.stateMB = float64(len(open)), folderMB(filepath.Join(e.p.dir, "data", "state"))
		status, err := e.p.admin.Status(e.tb.Context())
		if err != nil {
			e.tb.Fatal(err)
		}
		for _, c := range status.Cursors {
			s.lag = max(s.lag, c.LagSeconds)
		}
		samples <- s
	}
}

// folderMB is the size of what lies in a folder. Files may vanish meanwhile.
func folderMB(dir string) float64 {
	var bytes int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return float64(bytes) / (1 << 20)
}

// judgeSoak prints a table of ten rows and compares the second quarter with the last: the first warms up.
func judgeSoak(t *testing.T, all []soakSample) {
	if len(all) < 20 {
		t.Fatalf("%d samples are too few", len(all))
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "after\tMB\tgoroutines\tfiles\tstate MB\tlag s\t")
	for i := range 10 {
		s := all[(i+1)*len(all)/10-1]
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.1f\t%.2f\t\n", s.at.Round(time.Second), s.memoryMB, s.goroutines, s.files, s.stateMB, s.lag)
	}
	_ = w.Flush() // to memory
	t.Logf("%d samples; the last of each tenth:\n%s", len(all), text.String())

	quarter := len(all) / 4
	median := func(samples []soakSample, figure func(soakSample) float64) float64 {
		var values []float64
		for _, s := range samples {
			values = append(values, figure(s))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	for _, f := range []struct {
		name   string
		figure func(soakSample) float64
		share  float64 // by which it may grow
		slack  float64 // and so much besides
	}{
		{"memory in MB", func(s soakSample) float64 { return s.memoryMB }, 0.1, 16},
		{"goroutines", func(s soakSample) float64 { return s.goroutines }, 0.1, 10},
		{"open files", func(s soakSample) float64 { return s.files }, 0.1, 10},
		{"the state in MB", func(s soakSample) float64 { return s.stateMB }, 0.25, 8}, // Pebble compacts in waves
	} {
		early, late := median(all[quarter:2*quarter], f.figure), median(all[3*quarter:], f.figure)
		t.Logf("%s: median %.1f in the second quarter, %.1f in the last", f.name, early, late)
		if late > early*(1+f.share)+f.slack {
			t.Errorf("%s has grown from %.1f to %.1f", f.name, early, late)
		}
	}
	lags := make([]float64, 0, len(all))
	for _, s := range all {
		lags = append(lags, s.lag)
	}
	slices.Sort(lags)
	p99 := lags[len(lags)*99/100]
	t.Logf("lag: median %.2f s, p99 %.2f s, at most %.2f s", lags[len(lags)/2], p99, lags[len(lags)-1])
	if p99 >= 2 {
		t.Errorf("one sample in a hundred lags by %.2f s or more", p99)
	}
}
