package node

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"forebay/node/drops"
	"forebay/node/state"
	"forebay/router"
)

// The memory of drops is saved so often: a crash loses what was dropped since.
const saveDropsEvery = 10 * time.Second

// foreignEvery is how often the log says at most that requests came which are
// no events of this node's form.
const foreignEvery = time.Minute

// dropMemory keeps the memory of drops over restarts.
type dropMemory struct {
	memory   *drops.Memory
	state    *state.Store
	believed func() time.Time // zero while the clock is not
	logger   *slog.Logger

	mu      sync.Mutex
	foreign map[string]uint64 // by whose SDK it looks like, since the log said so
	said    time.Time
	failed  bool // the last save has
}

func (n *Node) openDropMemory() error {
	n.drops = &dropMemory{
		memory: drops.New(), state: n.state, believed: n.believedNow, logger: n.logger.With("part", "drops"), foreign: map[string]uint64{},
	}
	unread, err := n.drops.memory.Load(n.state)
	if err != nil {
		return fmt.Errorf("load the memory of drops: %w", err)
	}
	if len(unread) > 0 {
		n.logger.Warn("part of the memory of drops cannot be read, and is left out", "keys", strings.Join(unread, ", "))
	}
	return nil
}

// note is router.Options.OnDrop.
func (d *dropMemory) note(drop router.Drop) {
	d.memory.Add(drops.Kind{Project: drop.Project, Reason: drop.Reason, Rule: drop.Rule, LooksLike: drop.LooksLike}, drop.Time)
	if drop.LooksLike == "" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.foreign[drop.LooksLike]++
}

// run saves what was counted until ctx ends.
func (d *dropMemory) run(ctx context.Context) {
	tick := time.NewTicker(saveDropsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			d.sayForeign(now)
			if believed := d.believed(); !believed.IsZero() { // nothing is forgotten by a clock that may be wrong
				d.memory.Tidy(believed)
			}
			d.save()
		}
	}
}

func (d *dropMemory) save() {
	err := d.memory.Save(d.state)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil && !d.failed {
		d.logger.Warn("drops are counted, but a restart would forget them", "err", err)
	}
	d.failed = err != nil
}

// sayForeign tells in the node's log what came that is no event of its form.
func (d *dropMemory) sayForeign(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.foreign) == 0 || now.Sub(d.said) < foreignEvery {
		return
	}
	var parts []string
	for _, like := range slices.Sorted(maps.Keys(d.foreign)) {
		parts = append(parts, fmt.Sprintf("%d %s", d.foreign[like], router.SDKName(like)))
	}
	d.logger.Warn("requests came that are no events of this node's form: they are not stored", "requests", strings.Join(parts, ", "),
		"remedy", "forebay drops top --reason "+router.ReasonUnknownPath+"; send to POST /v1/events or /v1/batch in the form of WIRE.md")
	d.foreign, d.said = map[string]uint64{}, now
}
