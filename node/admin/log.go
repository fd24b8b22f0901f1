package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/julienschmidt/httprouter"

	"forebay/shipper"
	"forebay/wal"
)

// maxEvents bounds one answer of /wal/events; a caller pages on by seq.
const maxEvents = 100_000

func (a *api) segments(*http.Request, httprouter.Params) (any, error) { return a.Log.Segments() }

// verify checks the whole log. With ?progress=true it answers in JSON lines:
// how far it has come, and the report as the last.
func (a *api) verify(w http.ResponseWriter, r *http.Request, p httprouter.Params) {
	if r.URL.Query().Get("progress") != "true" {
		a.guard(func(*http.Request, httprouter.Params) (any, error) { return wal.Verify(a.LogDir) })(w, r, p)
		return
	}
	a.lines(w, r, func(line func(any) error) error {
		var told time.Time
		report, err := wal.VerifyProgress(a.LogDir, func(read, all int64) error {
			if time.Since(told) < flushEvery {
				return nil
			}
			told = time.Now()
			return line(VerifyProgress{Read: read, All: all})
		})
		if err != nil {
			return err
		}
		return line(VerifyProgress{Report: &report})
	})
}

// VerifyProgress is a line of a check of the log.
type VerifyProgress struct {
	Read   int64       `json:"read,omitempty"` // bytes so far
	All    int64       `json:"all,omitempty"`  // bytes in all
	Report *wal.Report `json:"report,omitempty"`
}

// flushEvery is how often lines that are there are sent to who waits for more.
const flushEvery = 100 * time.Millisecond

// lines streams JSON lines. An error before the first line is an answer of its
// own; after it, it can only break the connection off, and is logged.
func (a *api) lines(w http.ResponseWriter, r *http.Request, produce func(line func(any) error) error) {
	if err := a.admit(r); err != nil {
		a.fail(w, err)
		return
	}
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	flushed := time.Now()
	flush := func() { // the operator may have gone away: nobody left to tell
		flushed = time.Now()
		_ = out.Flush()
		_ = http.NewResponseController(w).Flush()
	}
	begun := false
	begin := func() {
		if !begun {
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.Header().Set("Cache-Control", "no-store")
			begun = true
		}
	}
	err := produce(func(v any) error {
		begin()
		err := enc.Encode(v)
		if time.Since(flushed) > flushEvery {
			flush()
		}
		return err
	})
	if err != nil && !begun {
		a.fail(w, err)
		return
	}
	begin()
	flush()
	if err != nil {
		a.Logger.Warn("an answer to an operator was cut short", "path", r.URL.Path, "err", err)
		panic(http.ErrAbortHandler) // a connection that breaks is the only sign left that lines are missing
	}
}

// events streams events of the log: ?from=SEQ&limit=N, from the oldest and
// 100 unless told.
func (a *api) events(w http.ResponseWriter, r *http.Request, _ httprouter.Params) {
	a.lines(w, r, func(line func(any) error) error {
		from, err := number(r, "from", a.Log.FirstSeq())
		if err != nil {
			return err
		}
		limit, err := number(r, "limit", 100)
		if err != nil {
			return err
		}
		return a.eachEvent(r.Context(), from, min(limit, maxEvents), line)
	})
}

func (a *api) eachEvent(ctx context.Context, from, limit uint64, line func(any) error) (err error) {
	last := a.Log.DurableSeq()
	if last < from {
		return nil
	}
	events := shipper.NewScan(a.Log, from, last)
	defer func() { err = errors.Join(err, events.Close()) }()
	for range limit {
		e, ok, err := events.Next(ctx)
		if err != nil || !ok {
			return err
		}
		err = line(newEvent(e))
		if err != nil {
			return err
		}
	}
	return nil
}

func newEvent(e shipper.Event) Event {
	return Event{
		Seq: e.Seq, LogID: e.LogID.String(), ReceivedAt: e.ReceivedAt,
		Project: e.Project, Session: e.Session, SDKVersion: e.SDKVersion, AppID: e.AppID, Event: e.Raw,
	}
}

func number(r *http.Request, name string, fallback uint64) (uint64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, refuse(http.StatusBadRequest, "%s=%q is not a number", name, text)
	}
	return n, nil
}
