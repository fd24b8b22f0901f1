package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"syscall"
	"time"

	"forebay/node/config"
	"forebay/wal"
)

// The shares of the disk budget at which something happens. History makes
// room first; readiness falls before new events are refused, so that a load
// balancer has time to turn elsewhere.
const (
	freeAbove    = 0.80 // shipped history is deleted down to here
	unreadyAbove = 0.90 // /readyz turns
	refuseAbove  = 0.95 // new events are dropped, and counted
)

// defaultBudgetShare is the part of the file system that a budget of 0 means.
const defaultBudgetShare = 0.80

// keepEvery is how often the disk is looked at.
const keepEvery = time.Second

// errDiskFull is what the gate answers to appends above the watermark.
var errDiskFull = errors.New("the log has reached its disk budget: new events are dropped until shipping or retention makes room")

// gate is the log as the front door sees it: closed above the watermark.
type gate struct {
	log *wal.Log

	mu   sync.RWMutex
	full bool
}

// Append is wal.Log.Append, refused while the disk is above its watermark.
func (g *gate) Append(ctx context.Context, e wal.Entry) (uint64, error) {
	if g.isFull() {
		return 0, errDiskFull
	}
	return g.log.Append(ctx, e)
}

func (g *gate) isFull() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.full
}

func (g *gate) set(full bool) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	changed = g.full != full
	g.full = full
	return changed
}

// diskKeeper applies retention and the watermarks.
type diskKeeper struct {
	dir      string
	inPlace  func() error // of the data directory
	log      *wal.Log
	keepFrom func() uint64 // lowest seq that a cursor still needs
	wantFrom func() uint64 // lowest that a replay would like
	gate     *gate
	retained func(age time.Duration) // told for how long the log holds its oldest block
	pressed  func()                  // called while readiness is down for want of space
	logger   *slog.Logger

	forecast forecast // of the loop that looks

	mu   sync.Mutex
	cfg  config.WAL
	last diskState
}

// configure changes the bounds, from the next look on.
func (k *diskKeeper) configure(cfg config.WAL) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cfg = cfg
}

func (k *diskKeeper) config() config.WAL {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cfg
}

// diskState is what the keeper saw last.
type diskState struct {
	used   int64 // bytes of the log
	budget int64 // bytes that it may take at most
	share  float64
	full   bool          // new events are dropped
	fullIn time.Duration // 0 when it is full, or notInSight
	err    error
	gone   error // the data directory or a part of it is not where it was
}

// fullInSeconds is the forecast as the status has it: 0 when it is full, or
// nothing is in sight.
func (s diskState) fullInSeconds() float64 {
	if s.full || s.fullIn == notInSight {
		return 0
	}
	return max(math.Round(s.fullIn.Seconds()), 1)
}

// fullInMetric is the forecast as Prometheus has it: +Inf when nothing is in
// sight, so that what is below a bound is so because it is near.
func (s diskState) fullInMetric() float64 {
	if s.fullIn == notInSight {
		return math.Inf(1)
	}
	return s.fullIn.Seconds()
}

// run looks at the disk until ctx ends.
func (k *diskKeeper) run(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		k.keep(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// keep deletes what retention allows, and opens or closes the gate.
func (k *diskKeeper) keep(now time.Time) {
	cfg := k.config()
	budget, err := k.budget(int64(cfg.DiskBudget))
	s := diskState{budget: budget, err: err}
	if retainErr := k.retain(cfg, budget, err == nil); retainErr != nil {
		s.err = errors.Join(s.err, fmt.Errorf("delete shipped history: %w", retainErr))
	}
	if s.gone = k.inPlace(); s.gone == nil {
		s.gone = k.log.InPlace()
	}
	stats := k.log.Stats()
	if stats.FirstSeq <= stats.DurableSeq {
		k.retained(stats.OldestAge)
	}
	s.used = stats.Bytes
	if budget > 0 {
		s.share = float64(s.used) / float64(budget)
	}
	s.full = s.share >= refuseAbove
	s.fullIn = k.fullIn(now, s)
	if s.share >= unreadyAbove {
		k.pressed()
	}
	k.publish(s)
}

// retain deletes history: what is older or more than is to be kept, if no
// replay wants it, and what fills the disk, whatever a replay wants.
func (k *diskKeeper) retain(cfg config.WAL, budget int64, known bool) error {
	need := k.keepFrom()
	_, err := k.log.Retain(wal.Retention{
		KeepFrom: min(need, k.wantFrom()), Age: cfg.Retain.Age, Bytes: int64(cfg.Retain.Bytes),
	})
	if known && err == nil {
		_, err = k.log.Retain(wal.Retention{KeepFrom: need, Bytes: max(int64(float64(budget)*freeAbove), 1)})
	}
	return err
}

func (k *diskKeeper) publish(s diskState) {
	k.mu.Lock()
	k.last = s
	k.mu.Unlock()
	if k.gate.set(s.full) {
		k.logger.Warn("disk watermark crossed", "dropping_new_events", s.full, "log_bytes", s.used, "budget_bytes", s.budget)
	}
}

// budget is the configured one, or a share of the file system. What others
// have filled of it is not the log's to take: a budget never exceeds what the
// log holds and what is still free.
func (k *diskKeeper) budget(configured int64) (int64, error) {
	return diskBudget(k.dir, configured, k.log.Stats().Bytes)
}

func diskBudget(dir string, budget, logBytes int64) (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return budget, fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	block := int64(fs.Bsize)
	if budget == 0 {
		budget = int64(float64(int64(fs.Blocks)*block) * defaultBudgetShare)
	}
	return min(budget, logBytes+int64(fs.Bavail)*block), nil
}

// eventOverhead is what the log takes beside an event's own bytes, at most for
// project, session, app and SDK names of up to 100 bytes: a request with one
// event is a block of its own when no others come with it.
const eventOverhead = 512

// DiskNeeded is a disk budget, in bytes, within which the log keeps so many
// events of eventBytes each while no destination takes any, and the node stays
// ready. Compression only makes it less.
func DiskNeeded(events, eventBytes, segmentBytes int64) int64 {
	return int64(float64(events*(eventBytes+eventOverhead)+2*segmentBytes) / unreadyAbove)
}

// DiskBudget is the budget of the log in the configured data directory, which
// need not exist yet: what is configured, or a share of the file system, but
// never more than the log has and is free.
func DiskBudget(cfg config.Config, logBytes int64) (int64, error) {
	return diskBudget(existing(cfg.Node.DataDir), int64(cfg.WAL.DiskBudget), logBytes)
}

// fullIn is in how long new events will be dropped, as what the cursors have not
// passed grows now. If that cannot be read, all of the log counts.
func (k *diskKeeper) fullIn(now time.Time, s diskState) time.Duration {
	held, err := k.log.HeldFrom(k.keepFrom())
	if err != nil {
		held = wal.Held{Bytes: s.used, Share: s.used}
	}
	k.forecast.add(now, held.Share)
	if s.full {
		return 0
	}
	return k.forecast.fullIn(float64(s.budget)*refuseAbove-float64(held.Bytes), float64(s.budget))
}

func (k *diskKeeper) state() diskState {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last
}
