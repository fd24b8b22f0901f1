package shipper

import (
	"strings"
	"time"
)

// The states that a cursor can be in, as operators see them.
const (
	Running = "running" // delivering, or waiting for events
	Paused  = "paused"  // stands still until someone acts or a time has come
	Failing = "failing" // the last try failed; it is being retried
)

// Status is what there is to know of a cursor at one moment.
type Status struct {
	Name            string    `json:"name"`
	NextSeq         uint64    `json:"next_seq"`
	Epoch           uint64    `json:"epoch"`
	State           string    `json:"state"`
	Stopped         bool      `json:"stopped,omitempty"` // the node does not run: whatever the state, nothing is delivered
	LagEvents       uint64    `json:"lag_events"`
	LagSeconds      float64   `json:"lag_seconds"` // age of the oldest event not shipped, save parked ones; 0 if there is none
	OldestUnshipped time.Time `json:"oldest_unshipped,omitzero"`
	RatePerSecond   float64   `json:"rate_per_second"`               // over the last minute
	Capacity        float64   `json:"capacity_per_second,omitempty"` // events a second while it was last behind; 0 if not known
	CapacityAt      time.Time `json:"capacity_at,omitzero"`          // when that was measured
	CatchUpSeconds  float64   `json:"catch_up_seconds,omitempty"`    // at its capacity, for what is there now; 0 if unknown, done, or nothing is delivered
	ReplayTo        uint64    `json:"replay_to,omitempty"`           // events up to here go out again after a rewind
	Plan            *Plan     `json:"plan,omitempty"`
	Pause           *Pause    `json:"pause,omitempty"`
	LastError       string    `json:"last_error"`
	ErrorEnded      time.Time `json:"error_ended,omitzero"` // when it was over; zero: it is not
	NextTry         time.Time `json:"next_try,omitzero"`
	Parked          *Parked   `json:"parked,omitempty"`
	Advice          string    `json:"remedy,omitempty"`
	ErrorSince      time.Time `json:"error_since,omitzero"`
	ErrorCount      uint64    `json:"error_count,omitempty"` // tries that failed since then
	Dead            int       `json:"dead"`
	Requeued        int       `json:"requeued,omitempty"` // of the dead, to be delivered once more
	Discarded       uint64    `json:"discarded,omitempty"`
	Lost            []Range   `json:"lost,omitempty"`
	Expired         []Range   `json:"expired,omitempty"`
	Skipped         []Range   `json:"skipped,omitempty"`
	Account         Account   `json:"ledger"`
	Sink            any       `json:"sink,omitempty"` // what the sink itself reports, see Reporter
}

// Reporter is implemented by sinks that have something of their own to show.
type Reporter interface {
	// Status is encoded as JSON under the cursor's "sink".
	Status() any
}

// maxErrorText bounds what is kept of an error, in bytes.
const maxErrorText = 4096

func shorten(text string) string {
	if len(text) <= maxErrorText {
		return text
	}
	return strings.ToValidUTF8(text[:maxErrorText], "") + " …"
}

// failure is the run of failed tries that is going on, or the last one.
type failure struct {
	text   string
	since  time.Time
	count  uint64
	active bool
	ended  time.Time
}

func (c *Cursor) report(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		if c.failure.active {
			c.logger.Info("delivering again", "failed_tries", c.failure.count, "since", c.failure.since)
		}
		if c.failure.active {
			c.failure.active, c.failure.ended = false, time.Now().UTC()
		}
		return
	}
	c.capacity.interrupt()
	if !c.failure.active {
		c.failure = failure{since: time.Now().UTC(), active: true}
		c.logger.Warn("delivery fails, retrying", "err", err)
	}
	c.failure.text = shorten(err.Error())
	c.failure.count++
}

// Status reads the cursor. If it lags, that reads the headers of a segment of
// the log, to tell the age of the oldest event that is not shipped.
func (c *Cursor) Status() Status {
	durable := c.log.DurableSeq()
	c.mu.Lock()
	s := Status{
		Name: c.name, NextSeq: c.pos.Next, Epoch: c.pos.Epoch, State: Running,
		ReplayTo: c.pos.RepeatsTo, Pause: c.pos.Pause, Stopped: !c.runs,
		RatePerSecond: c.rate.perSecond(time.Now()), Capacity: c.capacity.perSecond(), CapacityAt: c.capacity.at,
		LastError: c.failure.text, ErrorSince: c.failure.since, ErrorCount: c.failure.count, ErrorEnded: c.failure.ended,
		NextTry: c.nextTry,
		Dead:    c.dead.letters, Requeued: c.dead.requeued, Discarded: c.pos.Discarded,
		Lost: c.pos.Lost, Expired: c.pos.Expired, Skipped: c.pos.Skipped,
	}
	s.Account = c.account.state(&c.pos, max(durable, c.pos.Next-1))
	if c.current != nil {
		plan := *c.current
		s.Plan = &plan
	}
	if c.failure.active {
		s.State = Failing
	}
	if c.stalled != nil {
		s.State = Paused
		s.LastError, s.ErrorSince, s.ErrorCount, s.ErrorEnded = shorten(c.stalled.Error()), c.stalledAt, 0, time.Time{}
		if s.Pause == nil {
			s.Pause = c.ownPauseLocked()
		}
	}
	if c.pos.Pause != nil {
		s.State, s.NextTry = Paused, c.pos.Pause.Until
	}
	oldest := s.NextSeq
	waits := durable + 1 - min(s.NextSeq, durable+1)
	if f, ok := c.frontLocked(); ok && waits > 0 {
		waits = c.account.ahead(&s.Account, f, s.NextSeq)
		if s.State == Running { // else the parked ones are what fails
			oldest = max(oldest, f.Flowing)
		}
		if waits > 0 && s.State != Failing {
			s.Parked = f.Parked
		}
		if s.NextTry.IsZero() && s.State != Paused {
			s.NextTry = f.NextTry
		}
	}
	s.LagEvents = waits
	if s.State == Running && c.runs {
		if p := s.Parked; p != nil {
			waits -= min(waits, p.Events)
		}
		s.CatchUpSeconds = c.capacity.takes(waits, c.flush)
	}
	c.mu.Unlock()

	if durable >= oldest && s.LagEvents > 0 {
		if at, err := c.log.TimeOf(oldest); err == nil && !at.IsZero() {
			s.OldestUnshipped = at
			s.LagSeconds = max(time.Since(at).Seconds(), 0)
		}
	}
	if p := s.Parked; p != nil {
		parked := *p
		if at, err := c.log.TimeOf(s.NextSeq); err == nil {
			parked.Oldest = at
		}
		s.Parked = &parked
	}
	s.Advice = s.Remedy()
	if r, ok := c.sink.(Reporter); ok {
		s.Sink = r.Status()
	}
	return s
}

// DeliveredTo is when the newest event below the position was received; the
// zero time if there is none.
func (c *Cursor) DeliveredTo() (time.Time, error) {
	next := c.Next()
	if next <= c.log.FirstSeq() {
		return time.Time{}, nil
	}
	return c.log.TimeOf(next - 1)
}

// meter counts events over the last minute, second by second.
type meter struct {
	counts [60]uint64
	last   int64 // Unix second of the newest count
	begun  int64
}

func (m *meter) roll(now int64) {
	if m.begun == 0 {
		m.begun, m.last = now, now
	}
	for s := max(m.last+1, now-59); s <= now; s++ {
		m.counts[s%60] = 0
	}
	m.last = max(m.last, now)
}

func (m *meter) add(now time.Time, events uint64) {
	m.roll(now.Unix())
	m.counts[m.last%60] += events
}

func (m *meter) perSecond(now time.Time) float64 {
	m.roll(now.Unix())
	sum := uint64(0)
	for _, n := range m.counts {
		sum += n
	}
	return float64(sum) / float64(min(max(m.last-m.begun, 1), 60))
}
