package shipper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// auditKey is where the last audit is kept. An audit that runs is found there
// after a restart, and goes on behind what it has compared.
const auditKey = "proof/audit" // audit/ is the trail of operators

// What an audit came to.
const (
	AuditRunning    = "running"
	AuditDone       = "done"        // all that was asked for was compared
	AuditStopped    = "stopped"     // by an operator; it can be resumed
	AuditFailed     = "failed"      // Error says why; it can be resumed
	AuditNotOffered = "not offered" // the destination does not tell what it has
)

// auditPatience is for how long an audit tries again what fails, and
// auditRests how many times as long as a question took it rests after it.
const (
	auditPatience = 5 * time.Minute
	auditRests    = 1
)

// maxNamed bounds each list of ranges, sessions and refused events in a
// report. All are counted.
const maxNamed = 1000

// AuditRequest says what to compare with a cursor's destination.
type AuditRequest struct {
	Cursor string `json:"cursor"`
	From   uint64 `json:"from,omitempty"` // 0: the oldest event that the log keeps
	To     uint64 `json:"to,omitempty"`   // 0: the last one that the cursor has delivered
	Fill   bool   `json:"fill,omitempty"` // deliver once more what is missing

	// Removed is what a time that was asked for reaches back further than the
	// log does; From is then where the log begins.
	Removed Removed `json:"-"`
}

// AuditReport is an audit that runs, or the last one. From, To and Next are
// resolved: all events of From..Next-1 were compared, or are counted as what
// they are instead.
type AuditReport struct {
	AuditRequest
	State     string    `json:"state"` // one of the constants above
	Next      uint64    `json:"next"`
	StartedAt time.Time `json:"started_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Error     string    `json:"error,omitempty"` // while it runs: of a try that is being repeated

	Compared uint64   `json:"compared"`
	Excepted Excepted `json:"excepted"`          // the cursor does not count them as shipped
	TooOld   uint64   `json:"too_old,omitempty"` // the destination may have forgotten them, by a rule of its own
	Removed           // the log does not hold them any more

	Missing uint64   `json:"missing"` // not there, and not healed
	Holes   []Range  `json:"holes,omitempty"`
	Behind  []Behind `json:"behind,omitempty"` // the sessions of the missing
	Healed  uint64   `json:"healed,omitempty"`
	Filled  []Range  `json:"filled,omitempty"` // the healed
	Doubles uint64   `json:"doubles"`          // events that are there more than once
	Double  []Range  `json:"double,omitempty"`
	Lasting uint64   `json:"lasting_doubles,omitempty"` // of these, those that do not merge away
	Lasts   []Range  `json:"lasting,omitempty"`

	Refused   []Refusal `json:"refused,omitempty"`   // of the missing, what the destination refuses now
	Truncated bool      `json:"truncated,omitempty"` // a list was too long: it names the first 1,000

	Notes []string `json:"notes,omitempty"` // what the destination does not keep of an event that is there
}

// AuditOptions are what audits stand on.
type AuditOptions struct {
	Cursors *Cursors
	// Open returns a cursor's destination anew, or an error that wraps
	// ErrRefused if it has none that can be audited.
	Open func(cursor string) (AuditTarget, error)
	// Watch is how often the watch compares what was delivered since; 0: only
	// if an operator asked for it, see SetWatch.
	Watch  time.Duration
	Logger *slog.Logger
}

// Audits prove that what was delivered is there: once, as an operator asks, or
// again and again, see SetWatch. All methods are safe for concurrent use.
type Audits struct {
	opts  AuditOptions
	watch watch

	mu     sync.Mutex
	closed bool
	job    *job         // that runs; nil if none does
	last   *AuditReport // the newest
	paused bool         // the last one was running when the process ended
}

// job is an audit that runs.
type job struct {
	stop func(error)
	done chan struct{}
}

var (
	errAuditStopped = errors.New("stopped by an operator")
	errNodeStops    = errors.New("the node stops")
)

// NewAudits reads what earlier audits have left. Nothing runs before Run or
// Start.
func NewAudits(o AuditOptions) (*Audits, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Audits{opts: o}
	saved, err := o.Cursors.opts.State.Get(auditKey)
	if err != nil {
		return nil, fmt.Errorf("read the last audit: %w", err)
	}
	if saved != nil {
		a.last = new(AuditReport)
		if err := json.Unmarshal(saved, a.last); err != nil {
			o.Cursors.unreadable.note(auditKey, err)
			a.last = nil
		}
	}
	if a.last != nil {
		if a.last.State == AuditRunning {
			a.last.State, a.paused = AuditStopped, true
		}
	}
	return a, a.loadWatch()
}

// Run goes on with the audit that was running when the process before ended,
// and watches, until ctx ends. When it returns nothing runs any more.
func (a *Audits) Run(ctx context.Context) {
	a.mu.Lock()
	paused := a.paused
	a.mu.Unlock()
	if paused {
		if _, err := a.Resume(); err != nil {
			a.opts.Logger.Warn("the audit that was under way does not go on", "err", err)
		}
	}
	a.runWatch(ctx)
	a.Close()
}

// Close ends an audit that runs, to be resumed by the next process, and waits
// for it. No other is started.
func (a *Audits) Close() {
	a.mu.Lock()
	a.closed = true
	j := a.job
	a.mu.Unlock()
	if j != nil {
		j.stop(errNodeStops)
		<-j.done
	}
}

// Start begins an audit. It is refused with ErrBusy while another runs. A
// fill goes into the audit trail.
func (a *Audits) Start(cmd Command, r AuditRequest) (AuditReport, error) {
	report, c, err := a.resolve(r)
	if err != nil {
		return report, err
	}
	commit := func(entry ...Write) error { return a.begin(c, report, entry) }
	if !r.Fill {
		return report, commit()
	}
	entry := TrailEntry{By: cmd.By, Why: cmd.Why, Verb: "fill", Cursor: r.Cursor}
	return report, a.opts.Cursors.trail.commit(entry, nil, Range{report.From, report.To}, commit)
}

// resolve checks a request and fills in what it leaves open.
func (a *Audits) resolve(r AuditRequest) (AuditReport, *Cursor, error) {
	refuse := func(format string, args ...any) (AuditReport, *Cursor, error) {
		return AuditReport{}, nil, fmt.Errorf("audit: %w: %s", ErrRefused, fmt.Sprintf(format, args...))
	}
	c := a.opts.Cursors.Get(r.Cursor)
	if c == nil {
		return refuse("there is no cursor %q", r.Cursor)
	}
	d, err := a.opts.Open(r.Cursor)
	if err != nil {
		return AuditReport{}, nil, fmt.Errorf("audit: %w", err)
	}
	d.close()
	if r.Fill && d.Healer == nil {
		return refuse("what cursor %s has delivered cannot be filled in, since it has an order: rewind the cursor to before it", r.Cursor)
	}
	oldest, position := c.log.FirstSeq(), c.Next()
	if r.To == 0 {
		r.To = position - 1
	}
	if r.To >= position {
		return refuse("cursor %s has delivered up to seq %d only", r.Cursor, position-1)
	}
	if r.From > r.To {
		return refuse("there is nothing from seq %d to %d; cursor %s has delivered up to seq %d", r.From, r.To, r.Cursor, position-1)
	}
	if r.From == 0 {
		r.From = min(oldest, r.To+1)
	}
	now := time.Now().UTC()
	report := AuditReport{AuditRequest: r, Removed: r.Removed, State: AuditRunning, Next: r.From, StartedAt: now, UpdatedAt: now}
	if r.From < oldest {
		report.Next = min(oldest, r.To+1)
		report.NotKept = report.Next - r.From
	}
	return report, c, nil
}

// Resume goes on with the last audit, if it was stopped or has failed, behind
// what it has compared.
func (a *Audits) Resume() (AuditReport, error) {
	a.mu.Lock()
	last := a.last
	a.mu.Unlock()
	if last == nil || last.State != AuditStopped && last.State != AuditFailed {
		return AuditReport{}, fmt.Errorf("audit: %w: there is none that was stopped or has failed", ErrRefused)
	}
	c := a.opts.Cursors.Get(last.Cursor)
	if c == nil {
		return AuditReport{}, fmt.Errorf("audit: %w: there is no cursor %q any more", ErrRefused, last.Cursor)
	}
	report := *last
	report.State, report.Error, report.UpdatedAt = AuditRunning, "", time.Now().UTC()
	return report, a.begin(c, report, nil)
}

// begin saves the report, with the writes, and has the audit run.
func (a *Audits) begin(c *Cursor, report AuditReport, writes []Write) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return errNodeStops
	case a.job != nil:
		return fmt.Errorf("audit: %w: one of cursor %s runs", ErrBusy, a.last.Cursor)
	}
	if err := a.save(report, writes...); err != nil {
		return err
	}
	a.last, a.paused = &report, false
	ctx, stop := context.WithCancelCause(context.Background())
	j := &job{stop: stop, done: make(chan struct{})}
	a.job = j
	go func() {
		defer close(j.done)
		defer stop(nil)
		a.run(ctx, c)
	}()
	return nil
}

// Stop ends the audit that runs, and returns its report. It goes into the audit
// trail.
func (a *Audits) Stop(cmd Command) (AuditReport, error) {
	a.mu.Lock()
	j := a.job
	a.mu.Unlock()
	if j == nil {
		return AuditReport{}, fmt.Errorf("audit: %w: none runs", ErrRefused)
	}
	j.stop(errAuditStopped)
	<-j.done
	report, _ := a.Report()
	entry := TrailEntry{By: cmd.By, Why: cmd.Why, Verb: "stop audit", Cursor: report.Cursor}
	return report, a.opts.Cursors.trail.commit(entry, nil, Range{report.From, report.To}, func(entry ...Write) error {
		return a.opts.Cursors.opts.State.Commit(entry...)
	})
}

// Report is the audit that runs, or the last one; false if there was none.
func (a *Audits) Report() (AuditReport, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == nil {
		return AuditReport{}, false
	}
	return *a.last, true // its lists are never changed, only replaced
}

func (a *Audits) save(report AuditReport, writes ...Write) error {
	value, err := json.Marshal(report)
	if err == nil {
		err = a.opts.Cursors.opts.State.Commit(append(writes, Write{Key: auditKey, Value: value})...)
	}
	if err != nil {
		return fmt.Errorf("save the audit: %w", err)
	}
	return nil
}

// publish shows a report and saves it.
func (a *Audits) publish(report AuditReport) error {
	report.UpdatedAt = time.Now().UTC()
	a.mu.Lock()
	a.last = &report
	a.mu.Unlock()
	return a.save(report)
}

// note shows what fails and is tried again; nil: no longer.
func (a *Audits) note(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	shown := *a.last
	shown.Error = ""
	if err != nil {
		shown.Error = shorten(err.Error())
	}
	a.last = &shown
}
