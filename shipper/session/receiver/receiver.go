// Package receiver is the reference Session Manager: the smallest service
// that takes what the session cursor sends and makes it exactly once. It
// follows the contract in shipper/DELIVERY.md and nothing else, so whoever
// builds a receiver of their own can start from it. It is also the receiver
// of the development mode, of the load tool and of the tests, for which it
// can be told to fail (see [Rule]).
//
//	request ─▶ parse ─▶ fault? ─▶ apply (mark.go) ─▶ journal, if any ─▶ Taken ─▶ answer
//
// The exactly-once rule is one small pure function, [Mark.Apply]; all around
// it is HTTP and bookkeeping.
package receiver

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"forebay/shipper/session/header"
)

// Options configure a Receiver; the zero value is a receiver in memory that
// takes requests from anyone.
type Options struct {
	// StateFile is an append-only journal of all that took effect, on disk
	// before a request is answered. With it a Receiver survives being killed.
	// Empty: state is in memory only.
	StateFile string

	// Token, if set, must come as the bearer token of every request.
	Token string

	// Taken, if set, is told what took effect, for each session in order and
	// before the request is answered. New calls it for what StateFile holds.
	// It may be called for several sessions at once.
	Taken func(Delivery)

	// Hook, if set, is asked for each request before it is applied, after the
	// rules of SetFaults.
	Hook func(Delivery) Fault

	// MaxSessions bounds how many sessions are remembered, default 262,144.
	// Past it the one silent for longest is forgotten, and a repeat to it
	// would be taken twice.
	MaxSessions int

	// MaxBodyBytes bounds a request's body, decompressed; default 16 MiB.
	MaxBodyBytes int64
}

// Receiver is an http.Handler. It serves
//
//	POST /v1/sessions/events   the contract
//	GET  /v1/sessions/marks    ?project_id=&session_id=: how far a session came
//	GET  /report               what was received so far, and whether in order
//	PUT  /faults               a JSON list of rules to fail by; [] heals
type Receiver struct {
	opts    Options
	mux     *http.ServeMux
	journal *journal // nil without a StateFile
	faults  faults

	mu       sync.Mutex // guards what follows; held briefly, never while an entry is waited for
	sessions table
	seen     seenSeqs
	report   Report
}

// New returns a Receiver, after it has read what its StateFile holds.
func New(o Options) (*Receiver, error) {
	if o.MaxSessions <= 0 {
		o.MaxSessions = 1 << 18
	}
	if o.MaxBodyBytes <= 0 {
		o.MaxBodyBytes = 16 << 20
	}
	r := &Receiver{opts: o, mux: http.NewServeMux(), sessions: newTable(o.MaxSessions), seen: newSeenSeqs()}
	r.mux.HandleFunc("POST /v1/sessions/events", r.serveEvents)
	r.mux.HandleFunc("GET /v1/sessions/marks", r.serveMarks)
	r.mux.HandleFunc("GET /report", r.serveReport)
	r.mux.HandleFunc("PUT /faults", r.serveFaults)
	if o.StateFile == "" {
		return r, nil
	}
	var err error
	if r.journal, err = openJournal(o.StateFile, r.recover); err != nil {
		return nil, err
	}
	return r, nil
}

// Close closes the StateFile. The server in front must have stopped.
func (r *Receiver) Close() error {
	if r.journal == nil {
		return nil
	}
	return r.journal.close()
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	token := []byte(req.Header.Get("Authorization"))
	if r.opts.Token != "" && subtle.ConstantTimeCompare(token, []byte("Bearer "+r.opts.Token)) == 0 {
		http.Error(w, "the bearer token is wrong", http.StatusUnauthorized)
		return
	}
	r.mux.ServeHTTP(w, req)
}

// answer is the body of a 200.
type answer struct {
	Taken   int `json:"taken"`
	Repeats int `json:"repeats"`
}

func (r *Receiver) serveEvents(w http.ResponseWriter, req *http.Request) {
	d, err := parse(req, r.opts.MaxBodyBytes)
	if err != nil {
		if !errors.Is(err, errCutOff) {
			r.malformed(err)
		}
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fault := r.faults.pick(d)
	if fault == (Fault{}) && r.opts.Hook != nil {
		fault = r.opts.Hook(d)
	}
	fault.wait()
	if fault.fails() && !fault.After {
		fault.answer(w)
		return
	}
	taken, err := r.take(d)
	var stale *StaleEpochError
	switch {
	case errors.As(err, &stale):
		w.Header().Set(header.Epoch, fmt.Sprint(stale.Highest))
		http.Error(w, err.Error(), http.StatusConflict)
	case errors.Is(err, errMalformed):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case fault.fails():
		fault.answer(w)
	default:
		writeJSON(w, answer{Taken: taken, Repeats: len(d.Seqs) - taken})
	}
}

// malformed counts a request that could not even be read.
func (r *Receiver) malformed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Malformed++
	r.report.describe("unreadable request: %v", err)
}

// take applies one request: one at a time for each session, durably if there
// is a journal.
func (r *Receiver) take(d Delivery) (taken int, err error) {
	e := r.acquire(d)
	defer r.release(e)
	next, effect, err := e.mark.Apply(d)
	if err == nil && r.journal != nil && !effect.empty() {
		err = r.journal.append(effect)
	}
	r.mu.Lock()
	r.report.count(d, effect, err)
	if err == nil {
		r.checkLate(d, e.mark)
	}
	r.mu.Unlock()
	if err != nil {
		return 0, err
	}
	e.mark = next
	if r.opts.Taken != nil && !effect.empty() {
		r.opts.Taken(effect)
	}
	return len(effect.Seqs), nil
}

// recover applies what the journal holds. What is a repeat, or stale, was taken
// since the session's mark had been forgotten; here it may be known still, as
// requests that took no effect do not stand in the journal.
func (r *Receiver) recover(d Delivery) error {
	e := r.acquire(d)
	defer r.release(e)
	next, effect, err := e.mark.Apply(d)
	var stale *StaleEpochError
	if err != nil && !errors.As(err, &stale) {
		return err
	}
	r.mu.Lock()
	r.report.count(d, effect, err)
	r.seen.add(d.LogID, d.Seqs)
	r.mu.Unlock()
	if err != nil {
		return nil
	}
	e.mark = next
	if r.opts.Taken != nil && !effect.empty() {
		r.opts.Taken(effect)
	}
	return nil
}

// checkLate finds events that came after their turn: at or below the mark,
// never taken, and not announced as a gap. They are lost to the session.
func (r *Receiver) checkLate(d Delivery, before Mark) {
	if d.Epoch == before.Epoch && len(d.Fill) == 0 {
		for _, seq := range d.Seqs {
			if seq <= before.Seq && !before.Gaps.Contains(seq) && r.seen.missing(d.LogID, seq) {
				r.report.late(d, seq)
			}
		}
	}
	r.seen.add(d.LogID, d.Seqs)
}

// SetFaults makes the receiver fail by rules, the first that matches; none
// heals it.
func (r *Receiver) SetFaults(rules ...Rule) { r.faults.set(rules) }

// Report is what has been received so far.
func (r *Receiver) Report() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	report := r.report
	report.Violations = append([]string(nil), report.Violations...)
	report.Sessions = r.sessions.seen
	return report
}

// Marks returns how far a session came, for each log that sent events of it.
func (r *Receiver) Marks(project, session string) []SessionMark {
	r.mu.Lock()
	entries := r.sessions.find(project, session)
	r.mu.Unlock()
	marks := []SessionMark{}
	for _, e := range entries {
		e.mu.Lock()
		marks = append(marks, SessionMark{LogID: e.key.logID, Project: project, Session: session, Mark: e.mark})
		e.mu.Unlock()
		r.mu.Lock()
		e.users--
		r.mu.Unlock()
	}
	return marks
}

func (r *Receiver) serveMarks(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	writeJSON(w, map[string]any{"marks": r.Marks(q.Get("project_id"), q.Get("session_id"))})
}

func (r *Receiver) serveReport(w http.ResponseWriter, _ *http.Request) { writeJSON(w, r.Report()) }

func (r *Receiver) serveFaults(w http.ResponseWriter, req *http.Request) {
	var rules []Rule
	dec := json.NewDecoder(http.MaxBytesReader(w, req.Body, 1<<20))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&rules); err != nil {
		http.Error(w, "want a JSON list of rules: "+err.Error(), http.StatusBadRequest)
		return
	}
	r.SetFaults(rules...)
	w.WriteHeader(http.StatusNoContent)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client is gone: nobody is left to tell
}
