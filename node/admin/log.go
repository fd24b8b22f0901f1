package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/julienschmidt/httprouter"

	"forebay/shipper"
	"forebay/wal"
)

// maxEvents bounds one answer of JSON lines; a caller pages on by seq.
const maxEvents = 100_000

func (a *api) segments(*http.Request, httprouter.Params) (any, error) { return a.Log.Segments() }

func (a *api) verify(*http.Request, httprouter.Params) (any, error) { return wal.Verify(a.LogDir) }

// lines streams JSON lines. An error before the first line is an answer of its
// own; after it, it can only cut the stream short, and is logged.
func (a *api) lines(w http.ResponseWriter, r *http.Request, produce func(line func(any) error) error) {
	if err := a.admit(r); err != nil {
		a.fail(w, err)
		return
	}
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
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
		return enc.Encode(v)
	})
	switch {
	case err != nil && !begun:
		a.fail(w, err)
		return
	case err != nil:
		a.Logger.Warn("an answer to an operator was cut short", "path", r.URL.Path, "err", err)
	}
	begin()
	_ = out.Flush() // the operator went away: nobody left to tell
}

// events streams events of the log: ?from=SEQ&limit=N, from the oldest and
// 100 unless told.
func (a *api) events(w http.ResponseWriter, r *http.Request, _ httprouter.Params) {
	a.lines(w, r, func(line func(any) error) error {
		from, err := number(r, "from", max(a.Log.FirstSeq(), 1))
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
		err = line(Event{
			Seq: e.Seq, LogID: e.LogID.String(), ReceivedAt: e.ReceivedAt,
			Project: e.Project, Session: e.Session, SDKVersion: e.SDKVersion, AppID: e.AppID, Event: e.Raw,
		})
		if err != nil {
			return err
		}
	}
	return nil
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
