package torturetest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"forebay/node/admin"
)

// maxMB bounds the memory of a node under the race detector, whatever it has behind it. Without the detector a third would be enough.
const maxMB = 900

// footprint is what a node holds.
type footprint struct{ goroutines, files int }

var goroutinesLine = regexp.MustCompile(`(?m)^go_goroutines(?:\{[^}]*\})? ([0-9.e+]+)$`)

func (w *world) footprint() footprint {
	f := footprint{files: len(openFiles(w.node.pid()))}
	client := http.Client{Timeout: commandLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + w.adminAddr + "/metrics")
	if err != nil {
		return f
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if match := goroutinesLine.FindSubmatch(text); err == nil && match != nil {
		n, _ := strconv.ParseFloat(string(match[1]), 64)
		f.goroutines = int(n)
	}
	return f
}

// eventually polls until the condition holds; if it does not, that is a problem, with what it said last.
func (w *world) eventually(what string, condition func() (bool, string)) bool {
	limit := time.NewTimer(settleLimit)
	defer limit.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, why := condition()
		if ok {
			return true
		}
		select {
		case <-tick.C:
		case <-limit.C:
			w.book.problem("not within %s: %s: %s", settleLimit, what, why)
			return false
		}
	}
}

// settle heals what commands have left behind, lets the clients finish, and waits until every cursor has come to the
// end of the log. Dead letters of sessions are requeued: a disk that was nearly full has set them aside.
func (w *world) settle(clients *sync.WaitGroup) (status admin.Status, settled bool) {
	ctx := context.Background()
	w.sendNoMore()
	done := make(chan struct{})
	go func() { defer close(done); clients.Wait() }()
	answered := w.eventually("every batch is answered", func() (bool, string) {
		select {
		case <-done:
			return true, ""
		default:
			return false, "the node said:\n" + w.node.tail()
		}
	})
	settled = w.eventually("every cursor is at the end of the log, and nothing is set aside", func() (bool, string) {
		var err error
		if status, err = w.status(); err != nil {
			return false, err.Error()
		}
		for _, c := range status.Cursors {
			if c.Pause != nil && c.Pause.By == operator {
				_, _ = w.admin.Resume(ctx, c.Name, admin.Command{}) // asked again if it did not work
			}
			if c.Name == "session" && c.Dead > c.Requeued {
				_, _ = w.admin.Requeue(ctx, c.Name, admin.DeadRequest{})
			}
			if c.NextSeq <= status.Log.DurableSeq || c.Dead > 0 || c.State != "running" {
				return false, fmt.Sprintf("%+v, the log ends at %d", c, status.Log.DurableSeq)
			}
		}
		return true, ""
	})
	return status, answered && settled && w.endReplays()
}

// judge holds what the node says of itself, what it left behind, and what has arrived against the book.
func (w *world) judge(status admin.Status) {
	if !status.Ledger.Balanced {
		w.book.problem("the ledger does not balance: %+v", status.Ledger)
	}
	w.judgeKeys()
	w.judgeAudits()
	w.judgeFootprint()
	if report, err := w.admin.Verify(context.Background()); err != nil {
		w.book.problem("verify: %v", err)
	} else if report.TornTail != nil || len(w.damaged) == 0 && !report.OK() {
		w.book.problem("verify found what nobody damaged: %+v", report)
	}
	if err := w.node.stop(stopLimit); err != nil {
		w.book.problem("%v\n%s", err, w.node.tail())
	}
	for _, p := range []*process{w.node, w.receiver} {
		for _, text := range p.alarming() {
			w.book.problem("the %s printed:\n%s", p.name, text)
		}
	}
	known, firstKept, err := w.logged()
	if err != nil {
		w.book.problem("read the log: %v", err)
		return
	}
	w.compareLog(known, firstKept)
	w.judgeClickHouse(status, firstKept, known)
	w.judgeReceiver(status, known)
}

// judgeKeys checks that keys that were withdrawn are refused by now.
func (w *world) judgeKeys() {
	client := newHTTPClient()
	defer client.CloseIdleConnections()
	for _, key := range w.revoked {
		w.eventually("a revoked key is refused", func() (bool, string) {
			status, text, err := w.post(client, key.text, probe(key.text))
			return status == http.StatusUnauthorized, fmt.Sprint(status, string(text), err)
		})
	}
}

// judgeFootprint checks that a node at rest holds what one does that has just started, but for connections that are
// kept: two goroutines and a file for each lane of the session cursor.
func (w *world) judgeFootprint() {
	const lanes, slack = 8, 12
	w.eventually("goroutines and files are given back", func() (bool, string) {
		now := w.footprint()
		gone := 0
		for _, path := range openFiles(w.node.pid()) {
			if strings.Contains(path, w.data) && strings.HasSuffix(path, "(deleted)") {
				gone++
			}
		}
		ok := now.goroutines > 0 && now.goroutines <= w.base.goroutines+2*lanes+slack && now.files <= w.base.files+lanes+slack && gone == 0
		return ok, fmt.Sprintf("at the start %+v, now %+v, with %d files that are deleted", w.base, now, gone)
	})
	if w.peakMB > maxMB {
		w.book.problem("the node took %.0f MB of memory", w.peakMB)
	}
}
